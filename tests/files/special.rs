//! Sockets, FIFOs, devices; and what `tests/files.rs` looks for on the host.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use super::call::{Case, c, check, ok};

pub(crate) const CASES: &[Case] = &[
    ("a socket", |dir| {
        let path = Path::new("/proc/self/cwd").join("s");
        let before = std::env::current_dir()?;
        std::env::set_current_dir(dir)?;
        let listener = UnixListener::bind(&path)?;
        let mut stream = UnixStream::connect(&path)?;
        stream.write_all(b"x")?;
        let mut byte = [0];
        listener.accept()?.0.read_exact(&mut byte)?;
        let kind = fs::metadata(dir.join("s"))?.file_type().is_socket();
        std::env::set_current_dir(before)?;
        Ok(format!("{kind} {byte:?}"))
    }),
    ("a socket that is there already", |dir| {
        std::env::set_current_dir(dir)?;
        let _first = UnixDatagram::bind("s")?;
        ok(UnixDatagram::bind("s"))
    }),
    ("a FIFO", |dir| {
        let path = dir.join("f");
        // SAFETY: a NUL-terminated path.
        check(unsafe { libc::mkfifo(c(&path).as_ptr(), 0o600) })?;
        let other = path.clone();
        let writer = thread::spawn(move || fs::write(other, "through"));
        let text = fs::read_to_string(&path)?;
        writer.join().expect("it does not panic")?;
        Ok(format!("{text} {}", fs::metadata(&path)?.file_type().is_fifo()))
    }),
    ("a device", |dir| {
        let path = dir.join("n");
        // SAFETY: a NUL-terminated path.
        check(unsafe { libc::mknod(c(&path).as_ptr(), libc::S_IFCHR | 0o600, libc::makedev(1, 5)) })?;
        let mut zeros = [1; 4];
        File::open(&path)?.read_exact(&mut zeros)?;
        Ok(format!("{zeros:?} {:x}", fs::metadata(&path)?.rdev()))
    }),
    ("a device of number 0", |dir| {
        let path = dir.join("n");
        // SAFETY: a NUL-terminated path.
        check(unsafe { libc::mknod(c(&path).as_ptr(), libc::S_IFCHR | 0o600, 0) })?;
        Ok(format!("{}", fs::read_dir(dir)?.count()))
    }),
    ("mknod of a file", |dir| {
        let path = dir.join("n");
        // SAFETY: a NUL-terminated path.
        check(unsafe { libc::mknod(c(&path).as_ptr(), libc::S_IFREG | 0o640, 0) })?;
        Ok(format!("{:o}", fs::metadata(&path)?.mode()))
    }),
    ("an overlay of it", |dir| {
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(dir.join(name))?;
        }
        fs::write(dir.join("lower/f"), "1")?;
        let at = |name: &str| dir.join(name).display().to_string();
        let data = format!("lowerdir={},upperdir={},workdir={}\0", at("lower"), at("upper"), at("work"));
        let target = c(&dir.join("merged"));
        // SAFETY: NUL-terminated strings.
        unsafe {
            let fstype = c"overlay".as_ptr();
            check(libc::mount(fstype, target.as_ptr(), fstype, 0, data.as_ptr().cast()))?;
            let seen = fs::read_to_string(dir.join("merged/f"));
            check(libc::umount2(target.as_ptr(), libc::MNT_DETACH))?;
            seen
        }
    }),
];

/// Of every kind there is.
pub(crate) fn leave_files(top: &Path) {
    // What the host had there is seen, and can be changed.
    assert_eq!(fs::read_to_string(top.join("of-the-host/kept")).unwrap(), "kept");
    assert_eq!(fs::metadata(top.join("of-the-host/kept")).unwrap().mode() & 0o7777, 0o640);
    fs::remove_file(top.join("of-the-host/removed")).unwrap();
    fs::rename(top.join("of-the-host/moved"), top.join("moved")).unwrap();
    fs::remove_dir_all(top.join("of-the-host/directory")).unwrap();
    File::options().append(true).open(top.join("of-the-host/changed")).unwrap().write_all(b" and more").unwrap();

    // As LLVM's runtime does.
    let profile = std::env::var("LLVM_PROFILE_FILE").unwrap();
    fs::write(profile, "profile").unwrap();

    let directory = top.join("new");
    fs::create_dir_all(directory.join("deep")).unwrap();
    fs::write(directory.join("deep/file"), "content").unwrap();
    let file = File::create(directory.join("sparse")).unwrap();
    file.set_len(256 << 20).unwrap();
    file.write_all_at(b"x", 128 << 20).unwrap();
    symlink("/etc/passwd", directory.join("link")).unwrap();
    fs::write(directory.join("program"), "").unwrap();
    fs::set_permissions(directory.join("program"), Permissions::from_mode(0o4751)).unwrap();
    fs::write(directory.join("owned"), "").unwrap();
    chown(directory.join("owned"), Some(1234), Some(1234)).unwrap();
    UnixListener::bind(directory.join("socket")).unwrap();
    // SAFETY: NUL-terminated paths.
    unsafe {
        assert_eq!(libc::mkfifo(c(&directory.join("fifo")).as_ptr(), 0o600), 0);
        assert_eq!(libc::mknod(c(&directory.join("device")).as_ptr(), libc::S_IFCHR | 0o600, libc::makedev(1, 3)), 0);
    }
    let time = UNIX_EPOCH + Duration::from_secs(1_000_000);
    File::open(directory.join("deep/file")).unwrap().set_modified(time).unwrap();
    File::open(directory.join("deep")).unwrap().set_modified(time).unwrap();
}
