//! What is mounted where.

use std::ffi::c_ulong;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::sys::{self, MS_NODEV, MS_NOEXEC, MS_NOSUID};

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

/// Mounts the whole table below `root`; what optional parts could not be had, a line each. Where the initramfs
/// `packed` the root's files, those in `/tmp` are not hidden: they are in memory as it is.
pub fn fixed(root: &Path, packed: bool) -> io::Result<Vec<String>> {
    let mut warnings = Vec::new();
    // Asking for another has the kernel look for a program that loads it, and there is none yet.
    let kernels = fs::read_to_string("/proc/filesystems")?;
    let is_known = |mount: &Fixed| kernels.lines().any(|line| line.rsplit('\t').next() == Some(mount.fstype));
    let holds_files = |mount: &Fixed| {
        let files = fs::read_dir(root.join(&mount.target[1..]));
        mount.fstype == "tmpfs" && files.is_ok_and(|mut files| files.next().is_some())
    };
    for mount in FIXED.iter().filter(|mount| !packed || !holds_files(mount)) {
        if !mount.required && !is_known(mount) {
            warnings.push(format!("no {} at {}: the kernel does not have it", mount.fstype, mount.target));
            continue;
        }
        match attach(mount, root) {
            Err(error) if mount.required => return Err(context(error, Path::new(mount.target))),
            Err(error) => warnings.push(format!("no {} at {}: {error}", mount.fstype, mount.target)),
            Ok(()) => {}
        }
    }
    for (directory, mode) in DIRECTORIES {
        let directory = root.join(&directory[1..]);
        make_dir(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode))?;
    }
    for (link, target) in LINKS {
        match symlink(target, root.join(&link[1..])) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => warnings.push(format!("no {link}: {error}")),
            _ => {}
        }
    }
    Ok(warnings)
}

fn attach(mount: &Fixed, root: &Path) -> io::Result<()> {
    let target = root.join(&mount.target[1..]);
    make_dir(&target)?;
    match sys::mount_at(Path::new(mount.fstype), &target, mount.fstype, mount.flags, mount.data) {
        // It is mounted there already: by us before, or by a kernel that mounts /dev itself.
        Err(error) if error.raw_os_error() == Some(sys::EBUSY) => Ok(()),
        result => result,
    }
}

/// Makes a directory, and lets the ones that exist be: sysfs and proc cannot be written to.
pub fn make_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() { Ok(()) } else { fs::create_dir_all(path) }
}

/// Says what could not be mounted.
pub fn context(error: io::Error, target: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("failed to mount `{}`: {error}", target.display()))
}
