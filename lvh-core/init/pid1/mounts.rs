//! What is mounted where.

use std::ffi::c_ulong;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::sys::{self, MS_MOVE, MS_NODEV, MS_NOEXEC, MS_NOSUID};

/// A mount that every guest has.
struct Fixed {
    fstype: &'static str,
    target: &'static str,
    flags: c_ulong,
    data: &'static str,
    /// Without it nothing works; the others depend on the kernel's configuration.
    required: bool,
}

const SAFE: c_ulong = MS_NOSUID | MS_NODEV | MS_NOEXEC;

/// In order: later ones lie inside earlier ones.
const FIXED: &[Fixed] = &[
    Fixed { fstype: "proc", target: "/proc", flags: SAFE, data: "", required: true },
    Fixed { fstype: "sysfs", target: "/sys", flags: SAFE, data: "", required: true },
    Fixed { fstype: "devtmpfs", target: "/dev", flags: MS_NOSUID, data: "mode=755", required: true },
    Fixed { fstype: "devpts", target: "/dev/pts", flags: MS_NOSUID, data: "mode=620,ptmxmode=666", required: false },
    Fixed { fstype: "tmpfs", target: "/dev/shm", flags: MS_NOSUID | MS_NODEV, data: "mode=1777", required: true },
    Fixed { fstype: "tmpfs", target: "/run", flags: MS_NOSUID | MS_NODEV, data: "mode=755", required: true },
    Fixed { fstype: "tmpfs", target: "/tmp", flags: MS_NOSUID | MS_NODEV, data: "mode=1777", required: true },
    Fixed { fstype: "cgroup2", target: "/sys/fs/cgroup", flags: SAFE, data: "", required: false },
    Fixed { fstype: "bpf", target: "/sys/fs/bpf", flags: SAFE, data: "mode=700", required: false },
    Fixed { fstype: "debugfs", target: "/sys/kernel/debug", flags: SAFE, data: "", required: false },
    Fixed { fstype: "tracefs", target: "/sys/kernel/tracing", flags: SAFE, data: "", required: false },
    Fixed { fstype: "securityfs", target: "/sys/kernel/security", flags: SAFE, data: "", required: false },
    Fixed { fstype: "configfs", target: "/sys/kernel/config", flags: SAFE, data: "", required: false },
    Fixed { fstype: "mqueue", target: "/dev/mqueue", flags: SAFE, data: "", required: false },
    Fixed { fstype: "hugetlbfs", target: "/dev/hugepages", flags: MS_NOSUID | MS_NODEV, data: "", required: false },
];

/// What programs expect in `/dev` beside devices: devtmpfs does not make these, udev does.
const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Directories that programs expect in file systems which are new in every guest, and their modes.
const DIRECTORIES: [(&str, u32); 1] = [("/run/lock", 0o1777)];

/// What lvh-init itself needs to load modules and find its channel.
const EARLY: &[&str] = &["/proc", "/sys", "/dev"];

/// Mounts the early part of the table.
pub fn early() -> io::Result<()> {
    let mut early = FIXED.iter().filter(|mount| EARLY.contains(&mount.target));
    early.try_for_each(|mount| attach(mount, Path::new("/"))).map_err(io::Error::other)
}

/// Mounts what of the table the kernel has; what optional parts could not be had, a line each. Files that the initramfs has in
/// `/tmp` and the like are not hidden: they are in memory as it is.
pub fn fixed() -> io::Result<Vec<String>> {
    let mut warnings = Vec::new();
    // Asking for another has the kernel look for a program that loads it, and there is none yet.
    let kernels = fs::read_to_string("/proc/filesystems")?;
    let is_known = |mount: &Fixed| kernels.lines().any(|line| line.rsplit('\t').next() == Some(mount.fstype));
    let holds_files = |mount: &Fixed| {
        mount.fstype == "tmpfs" && fs::read_dir(mount.target).is_ok_and(|mut files| files.next().is_some())
    };
    for mount in FIXED.iter().filter(|mount| (mount.required || is_known(mount)) && !holds_files(mount)) {
        match attach(mount, Path::new("/")) {
            Err(error) if mount.required => return Err(context(error, Path::new(mount.target))),
            Err(error) => warnings.push(format!("no {} at {}: {error}", mount.fstype, mount.target)),
            Ok(()) => {}
        }
    }
    make_directories(Path::new("/"))?;
    for (link, target) in LINKS {
        match symlink(target, link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => warnings.push(format!("no {link}: {error}")),
            _ => {}
        }
    }
    Ok(warnings)
}

/// Moves all that to `root`, which gets another where the initramfs has files instead of a mount.
pub fn move_to(root: &Path) -> io::Result<()> {
    for mount in FIXED.iter().filter(|mount| mount.target.matches('/').count() == 1) {
        let target = root.join(&mount.target[1..]);
        make_dir(&target)?;
        match sys::mount_at(Path::new(mount.target), &target, "", MS_MOVE, "") {
            Err(error) if error.raw_os_error() == Some(sys::EINVAL) => {
                attach(mount, root).and_then(|()| make_directories(root))
            }
            result => result,
        }
        .map_err(|error| context(error, Path::new(mount.target)))?;
    }
    Ok(())
}

fn make_directories(root: &Path) -> io::Result<()> {
    DIRECTORIES.iter().try_for_each(|(directory, mode)| {
        let directory = root.join(&directory[1..]);
        make_dir(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(*mode))
    })
}

fn attach(mount: &Fixed, root: &Path) -> io::Result<()> {
    let target = root.join(&mount.target[1..]);
    make_dir(&target)?;
    let data = if mount.fstype == "cgroup2" { cgroup_options() } else { mount.data };
    match sys::mount_at(Path::new(mount.fstype), &target, mount.fstype, mount.flags, data) {
        // It is mounted there already: by us before, or by a kernel that mounts /dev itself.
        Err(error) if error.raw_os_error() == Some(sys::EBUSY) => Ok(()),
        result => result,
    }
}

/// With this option (since 6.0) a process that is put into a cgroup, as each command is, waits for no grace period of RCU.
fn cgroup_options() -> &'static str {
    const OPTION: &str = "favordynmods";
    // A kernel that does not know it would say so in its log.
    let known = fs::read_to_string("/sys/kernel/cgroup/features").unwrap_or_default();
    if known.lines().any(|feature| feature == OPTION) { OPTION } else { "" }
}

/// Makes a directory, and lets the ones that exist be: sysfs and proc cannot be written to.
pub fn make_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() { Ok(()) } else { fs::create_dir_all(path) }
}

/// Says what could not be mounted.
pub fn context(error: io::Error, target: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("failed to mount `{}`: {error}", target.display()))
}
