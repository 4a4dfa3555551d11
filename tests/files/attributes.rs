//! What a file has beside its content.

use std::ffi::CStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, UNIX_EPOCH};

use super::call::{Case, Said, c, check, ok, open};

pub(crate) const CASES: &[Case] = &[
    ("set-user-id", |dir| moded(dir, 0o4755)),
    ("set-group-id", |dir| moded(dir, 0o2755)),
    ("sticky", |dir| moded(dir, 0o1777)),
    ("no permissions", |dir| moded(dir, 0)),
    ("set-user-id after a write", |dir| {
        moded(dir, 0o6777)?;
        // As an ordinary user would: root's writes clear nothing.
        chown(dir.join("f"), Some(0), Some(0))?;
        Ok(format!("{:o}", fs::metadata(dir.join("f"))?.mode()))
    }),
    ("umask", |dir| {
        // SAFETY: no memory is involved; no other thread makes files.
        let before = unsafe { libc::umask(0o027) };
        open(&dir.join("f"), libc::O_CREAT | libc::O_RDWR, 0o777)?;
        fs::create_dir(dir.join("d"))?;
        // SAFETY: as above.
        unsafe { libc::umask(before) };
        Ok(format!("{:o} {:o}", fs::metadata(dir.join("f"))?.mode(), fs::metadata(dir.join("d"))?.mode()))
    }),
    ("a directory's group goes on", |dir| {
        chown(dir, None, Some(1234))?;
        fs::set_permissions(dir, Permissions::from_mode(0o2775))?;
        fs::create_dir(dir.join("d"))?;
        fs::write(dir.join("f"), "")?;
        let (made, file) = (fs::metadata(dir.join("d"))?, fs::metadata(dir.join("f"))?);
        Ok(format!("{} {:o} {}", made.gid(), made.mode() & 0o7000, file.gid()))
    }),
    ("chown", |dir| {
        fs::write(dir.join("f"), "")?;
        chown(dir.join("f"), Some(1234), Some(5678))?;
        let metadata = fs::metadata(dir.join("f"))?;
        Ok(format!("{} {}", metadata.uid(), metadata.gid()))
    }),
    ("chown of a link", |dir| {
        symlink("nowhere", dir.join("l"))?;
        lchown(dir.join("l"), Some(7), Some(8))?;
        Ok(format!("{}", fs::symlink_metadata(dir.join("l"))?.uid()))
    }),
    ("another user's file in a sticky directory", |dir| {
        fs::set_permissions(dir, Permissions::from_mode(0o1777))?;
        fs::write(dir.join("f"), "")?;
        as_user(|| ok(fs::remove_file(dir.join("f"))))
    }),
    ("another user's file", |dir| {
        fs::write(dir.join("f"), "")?;
        fs::set_permissions(dir.join("f"), Permissions::from_mode(0o600))?;
        as_user(|| ok(File::open(dir.join("f"))))
    }),
    ("access", |dir| {
        fs::write(dir.join("f"), "")?;
        // SAFETY: a NUL-terminated path.
        let access = |mode| check(unsafe { libc::access(c(&dir.join("f")).as_ptr(), mode) }).is_ok();
        Ok(format!("{} {} {}", access(libc::R_OK), access(libc::W_OK), access(libc::X_OK)))
    }),
    ("times", |dir| {
        let file = open(&dir.join("f"), libc::O_CREAT | libc::O_RDWR, 0o600)?;
        file.set_modified(UNIX_EPOCH + Duration::new(1_000_000, 123_456_789))?;
        let metadata = file.metadata()?;
        Ok(format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec()))
    }),
    ("the time of a link", |dir| {
        symlink("nowhere", dir.join("l"))?;
        let times = [libc::timespec { tv_sec: 5, tv_nsec: 0 }; 2];
        // SAFETY: a NUL-terminated path and two times, which outlive the call.
        check(unsafe {
            let path = c(&dir.join("l"));
            libc::utimensat(libc::AT_FDCWD, path.as_ptr(), times.as_ptr(), libc::AT_SYMLINK_NOFOLLOW)
        })?;
        Ok(format!("{}", fs::symlink_metadata(dir.join("l"))?.mtime()))
    }),
    ("a time before 1970", |dir| {
        let file = open(&dir.join("f"), libc::O_CREAT | libc::O_RDWR, 0o600)?;
        file.set_modified(UNIX_EPOCH - Duration::from_secs(100))?;
        Ok(format!("{}", file.metadata()?.mtime()))
    }),
    ("a directory's time", |dir| {
        File::open(dir)?.set_modified(UNIX_EPOCH)?;
        fs::write(dir.join("f"), "")?;
        Ok(format!("{}", fs::metadata(dir)?.mtime() > 0))
    }),
    ("one device", |dir| {
        fs::create_dir(dir.join("d"))?;
        fs::write(dir.join("d/f"), "")?;
        let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
        Ok(format!("{}", device(dir)? == device(&dir.join("d"))? && device(dir)? == device(&dir.join("d/f"))?))
    }),
    ("an attribute of the user's", |dir| attribute(dir, c"user.lvh")),
    ("an attribute of root's", |dir| attribute(dir, c"trusted.lvh")),
    ("an attribute of nobody's", |dir| attribute(dir, c"lvh.lvh")),
    ("a capability", |dir| {
        fs::write(dir.join("f"), "")?;
        set(&dir.join("f"), CAPABILITY, &MAY_READ_ALL)?;
        Ok(format!("{}", get(&dir.join("f"), CAPABILITY)? == MAY_READ_ALL))
    }),
    ("file system", |dir| {
        // SAFETY: all zero is a valid statfs, which the call writes.
        let (result, stat) = unsafe {
            let mut stat: libc::statfs = std::mem::zeroed();
            (libc::statfs(c(dir).as_ptr(), &mut stat), stat)
        };
        check(result)?;
        Ok(format!("{} {} {}", stat.f_bsize, stat.f_namelen, stat.f_bavail > 0))
    }),
    ("a handle", |dir| {
        // struct file_handle: room, type, the handle.
        let (mut handle, mut mount) = ([128u32; 34], 0);
        // SAFETY: a NUL-terminated path, a handle with room for 128 bytes, a number.
        ok(check(unsafe {
            let path = c(dir);
            libc::syscall(
                libc::SYS_name_to_handle_at,
                libc::AT_FDCWD,
                path.as_ptr(),
                handle.as_mut_ptr(),
                &mut mount,
                0,
            )
        }))
    }),
    ("sizes of an empty file", |dir| {
        fs::write(dir.join("f"), "")?;
        let metadata = fs::metadata(dir.join("f"))?;
        Ok(format!("{} {} {}", metadata.len(), metadata.blocks(), metadata.blksize()))
    }),
    ("a descriptor's name", |dir| {
        let file = open(&dir.join("f"), libc::O_CREAT | libc::O_RDWR, 0o600)?;
        let link = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        Ok(format!("{}", link == dir.canonicalize()?.join("f")))
    }),
];

const CAPABILITY: &CStr = c"security.capability";

/// struct vfs_cap_data of version 2, with CAP_DAC_OVERRIDE permitted and effective.
const MAY_READ_ALL: [u8; 20] = [1, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Makes a program that may read every file, and a file that only its owner may read.
pub(crate) fn give_capability(top: &Path) -> io::Result<()> {
    fs::write(top.join("secret"), "read")?;
    fs::set_permissions(top.join("secret"), Permissions::from_mode(0o600))?;
    fs::copy("/bin/cat", top.join("cat"))?;
    set(&top.join("cat"), CAPABILITY, &MAY_READ_ALL)
}

/// What an ordinary user reads with that program.
pub(crate) fn read_by_capability(top: &Path) -> io::Result<Output> {
    Command::new(top.join("cat")).arg(top.join("secret")).uid(1234).gid(1234).output()
}

fn moded(dir: &Path, mode: u32) -> Said {
    fs::write(dir.join("f"), "")?;
    fs::set_permissions(dir.join("f"), Permissions::from_mode(mode))?;
    Ok(format!("{:o}", fs::metadata(dir.join("f"))?.mode()))
}

/// As an ordinary user, who may enter every directory.
fn as_user(work: impl FnOnce() -> Said) -> Said {
    // SAFETY: no memory is involved. Of this thread alone, by the raw system calls.
    unsafe { check(libc::syscall(libc::SYS_setfsuid, 1234))? };
    let said = work();
    // SAFETY: as above.
    unsafe { check(libc::syscall(libc::SYS_setfsuid, 0))? };
    said
}

fn set(path: &Path, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: NUL-terminated strings, and the pointer and length of one value.
    check(unsafe { libc::setxattr(c(path).as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) }).map(drop)
}

fn get(path: &Path, name: &CStr) -> io::Result<Vec<u8>> {
    let mut value = vec![0; 64];
    // SAFETY: NUL-terminated strings, and a buffer as long as we say.
    let len = unsafe { libc::getxattr(c(path).as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(check(len as i64)? as usize);
    Ok(value)
}

fn attribute(dir: &Path, name: &CStr) -> Said {
    fs::write(dir.join("f"), "")?;
    set(&dir.join("f"), name, b"value")?;
    Ok(String::from_utf8_lossy(&get(&dir.join("f"), name)?).into_owned())
}
