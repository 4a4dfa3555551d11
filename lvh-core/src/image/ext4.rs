//! Disks that only guests of ours see, and only for as long as they are useful: ext4 without a journal.

use std::fs::File;
use std::path::Path;

use crate::process::Tool;
use crate::{Error, Result};

/// The file system's block, in bytes.
pub(crate) const BLOCK: u64 = 4096;

/// Makes the file `disk` of `bytes`, with what is in `tree`, where there is one.
///
/// # Errors
/// The file is there or cannot be written; there is no `mke2fs`, or it fails.
pub(crate) fn make(disk: &Path, bytes: u64, tree: Option<&Path>) -> Result<()> {
    let file = File::create_new(disk).and_then(|file| file.set_len(bytes));
    file.map_err(|error| Error::path("write", disk, error))?;
    let block = BLOCK.to_string();
    let features = ["-O", "^has_journal,^resize_inode", "-m", "0", "-b", &block];
    let mke2fs = Tool::new("mke2fs", "e2fsprogs")?.args(["-q", "-F", "-t", "ext4"]).args(features);
    let mke2fs = mke2fs.args(["-E", "lazy_itable_init=1,root_owner=0:0"]);
    mke2fs.args(tree.iter().flat_map(|tree| [Path::new("-d"), tree])).args([disk]).run().map(drop)
}
