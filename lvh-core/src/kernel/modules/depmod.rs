use std::path::Path;

use crate::process::{self, Tool};
use crate::{KernelRelease, Result};

/// Writes `modules.dep` and its kin below `root/lib/modules/RELEASE`, so that modprobe works in the guest.
///
/// Debian's packages come without them. Where the host has no depmod, they stay away: lvh itself reads the modules.
pub(in crate::kernel) fn depmod(root: &Path, release: &KernelRelease) -> Result<()> {
    if process::find("depmod").is_none() || !root.join("lib/modules").join(release.as_str()).is_dir() {
        return Ok(());
    }
    let args = [Path::new("-b"), root, Path::new(release.as_str())];
    Tool::new("depmod", "kmod")?.args(args).run().map(drop)
}
