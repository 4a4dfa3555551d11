//! Cores of commands that a signal killed.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::guest::protocol::{CORE, CORES};

/// Makes an empty place for cores, and has the kernel leave them there. That it cannot is no failure: there will be none.
pub fn prepare() {
    let _ = try_prepare();
}

fn try_prepare() -> io::Result<()> {
    let _ = fs::remove_dir_all(CORES);
    fs::create_dir(CORES)?;
    // A command may give up root before it crashes.
    fs::set_permissions(CORES, fs::Permissions::from_mode(0o1777))?;
    // The process id as the first namespace has it: commands may make others.
    fs::write("/proc/sys/kernel/core_pattern", format!("{CORES}/{CORE}.%P"))
}

/// Gives the core of the ended command `pid` its name.
pub fn name(pid: i32) {
    let dir = Path::new(CORES);
    // There may be none: the core was over its limit, or the disk full.
    let _ = fs::rename(dir.join(format!("{CORE}.{pid}")), dir.join(CORE));
}
