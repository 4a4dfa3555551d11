//! Code that behaves differently from kernel to kernel; `tests/matrix.rs` runs it on four of them.

use std::path::Path;
use std::{fs, io, ptr};

/// The version of Landlock's ABI, the kernel's sandbox for ordinary programs; `None` before Linux 5.13, or where it is
/// off.
pub fn landlock_abi() -> Option<i64> {
    /// `LANDLOCK_CREATE_RULESET_VERSION`, linux/landlock.h.
    const VERSION: u32 = 1;
    // SAFETY: with this flag the kernel takes no attributes and touches no memory of ours (landlock_create_ruleset(2)).
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0, VERSION) };
    (abi > 0).then_some(abi)
}

/// Kills every process in a cgroup at once, which Linux can do since 5.14.
///
/// # Errors
/// The kernel is older, or the directory is no cgroup.
pub fn kill_cgroup(directory: &Path) -> io::Result<()> {
    let file = directory.join("cgroup.kill");
    fs::OpenOptions::new().write(true).open(file).and_then(|mut kill| io::Write::write_all(&mut kill, b"1"))
}
