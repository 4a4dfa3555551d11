//! Sending files back where no share can carry them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::agent::channel::Sender;
use crate::guest::protocol::{MAX_CHUNK, ToHost};
use crate::guest::wire::Bytes;

/// What was sent: the host asks after every test, and a serial line takes seconds for a megabyte.
#[derive(Default)]
pub struct Collector {
    sent: HashMap<PathBuf, Stamp>,
}

/// What changes when a file does: inode, size, time of change in seconds and nanoseconds.
type Stamp = (u64, u64, i64, i64);

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec())
}

impl Collector {
    /// Sends every regular file below `dir` that is not as it was sent before, then `Collected`. What cannot be read
    /// is left out.
    pub fn send(&mut self, dir: &Bytes, sender: &Sender) {
        let root = Path::new(OsStr::from_bytes(&dir.0));
        // A command may be writing there at this moment: what vanishes meanwhile is no error.
        let _ = self.send_tree(root, root, sender);
        sender.send(&ToHost::Collected { dir: dir.clone() });
    }

    fn send_tree(&mut self, root: &Path, dir: &Path, sender: &Sender) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.is_dir() {
                self.send_tree(root, &path, sender)?;
            } else if metadata.is_file() && self.sent.get(&path) != Some(&stamp(&metadata)) {
                send_file(root, &path, sender)?;
                self.sent.insert(path, stamp(&metadata));
            }
        }
        Ok(())
    }
}

fn send_file(root: &Path, path: &Path, sender: &Sender) -> io::Result<()> {
    let name = path.strip_prefix(root).map_err(io::Error::other)?.as_os_str().as_bytes();
    let mut file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    let mut chunk = vec![0; MAX_CHUNK - name.len().min(MAX_CHUNK / 2)];
    loop {
        let len = file.read(&mut chunk)?;
        let part = Bytes(chunk[..len].to_vec());
        sender.send(&ToHost::File { path: Bytes(name.to_vec()), mode, data: part, last: len == 0 });
        if len == 0 {
            return Ok(());
        }
    }
}
