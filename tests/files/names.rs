//! Names: made, moved, removed, listed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use super::call::{Case, Said, c, check, ok, open};

pub(crate) const CASES: &[Case] = &[
    ("open exclusive twice", |dir| {
        open(&dir.join("f"), libc::O_CREAT | libc::O_EXCL | libc::O_RDWR, 0o600)?;
        ok(open(&dir.join("f"), libc::O_CREAT | libc::O_EXCL | libc::O_RDWR, 0o600))
    }),
    ("open a link with nofollow", |dir| {
        symlink("f", dir.join("l"))?;
        ok(open(&dir.join("l"), libc::O_RDONLY | libc::O_NOFOLLOW, 0))
    }),
    ("open a directory to write", |dir| ok(open(dir, libc::O_WRONLY, 0))),
    ("open a file as a directory", |dir| {
        fs::write(dir.join("f"), "")?;
        ok(open(&dir.join("f"), libc::O_DIRECTORY, 0))
    }),
    ("open a dangling link to create", |dir| {
        symlink("f", dir.join("l"))?;
        open(&dir.join("l"), libc::O_CREAT | libc::O_RDWR, 0o600)?;
        Ok(format!("{}", dir.join("f").exists()))
    }),
    ("a file without a name", |dir| {
        let mut file = open(dir, libc::O_TMPFILE | libc::O_RDWR, 0o600)?;
        file.write_all(b"abc")?;
        let there = fs::read_dir(dir)?.count();
        let link = format!("/proc/self/fd/{}\0", std::os::fd::AsRawFd::as_raw_fd(&file));
        let to = c(&dir.join("f"));
        // SAFETY: two NUL-terminated paths.
        check(unsafe {
            libc::linkat(libc::AT_FDCWD, link.as_ptr().cast(), libc::AT_FDCWD, to.as_ptr(), libc::AT_SYMLINK_FOLLOW)
        })?;
        Ok(format!("{there} names, then {:?}", fs::read_to_string(dir.join("f"))?))
    }),
    ("a removed file that is open", |dir| {
        let mut file = open(&dir.join("f"), libc::O_CREAT | libc::O_RDWR, 0o600)?;
        fs::remove_file(dir.join("f"))?;
        file.set_len(10)?;
        file.write_all(b"abc")?;
        file.set_permissions(fs::Permissions::from_mode(0o640))?;
        let metadata = file.metadata()?;
        Ok(format!("{} bytes, {} links, {:o}", metadata.len(), metadata.nlink(), metadata.mode()))
    }),
    ("rename over an open file", |dir| {
        fs::write(dir.join("old"), "old")?;
        fs::write(dir.join("new"), "new one")?;
        let mut file = File::open(dir.join("old"))?;
        fs::rename(dir.join("new"), dir.join("old"))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(format!("{text}, {}, {}", file.metadata()?.len(), fs::read_to_string(dir.join("old"))?))
    }),
    ("rename an open file", |dir| {
        let mut file = open(&dir.join("a"), libc::O_CREAT | libc::O_RDWR, 0o600)?;
        fs::rename(dir.join("a"), dir.join("b"))?;
        file.write_all(b"abc")?;
        file.set_len(2)?;
        fs::read_to_string(dir.join("b"))
    }),
    ("rename without replacing", |dir| renamed(dir, libc::RENAME_NOREPLACE)),
    ("rename by exchange", |dir| renamed(dir, libc::RENAME_EXCHANGE)),
    ("rename leaving a whiteout", |dir| {
        fs::write(dir.join("a"), "")?;
        let result = rename2(dir, "a", "b", libc::RENAME_WHITEOUT);
        let _ = fs::remove_file(dir.join("a"));
        ok(result)
    }),
    ("rename a directory over an empty one", |dir| {
        fs::create_dir_all(dir.join("a/x"))?;
        fs::create_dir(dir.join("b"))?;
        fs::rename(dir.join("a"), dir.join("b"))?;
        Ok(format!("{}", dir.join("b/x").is_dir()))
    }),
    ("rename a directory over a full one", |dir| {
        fs::create_dir_all(dir.join("a"))?;
        fs::create_dir_all(dir.join("b/x"))?;
        ok(fs::rename(dir.join("a"), dir.join("b")))
    }),
    ("rename a directory into itself", |dir| {
        fs::create_dir(dir.join("a"))?;
        ok(fs::rename(dir.join("a"), dir.join("a/b")))
    }),
    ("rename a file over a directory", |dir| {
        fs::write(dir.join("a"), "")?;
        fs::create_dir(dir.join("b"))?;
        ok(fs::rename(dir.join("a"), dir.join("b")))
    }),
    ("links to one file", |dir| {
        fs::write(dir.join("a"), "1")?;
        fs::hard_link(dir.join("a"), dir.join("b"))?;
        fs::write(dir.join("b"), "2")?;
        let same = fs::metadata(dir.join("a"))?.ino() == fs::metadata(dir.join("b"))?.ino();
        Ok(format!("{} {same} {}", fs::read_to_string(dir.join("a"))?, fs::metadata(dir.join("a"))?.nlink()))
    }),
    ("a link to a directory", |dir| {
        fs::create_dir(dir.join("d"))?;
        ok(fs::hard_link(dir.join("d"), dir.join("e")))
    }),
    ("a link to a symbolic link", |dir| {
        symlink("nowhere", dir.join("a"))?;
        fs::hard_link(dir.join("a"), dir.join("b"))?;
        Ok(format!("{}", fs::read_link(dir.join("b"))?.display()))
    }),
    ("the size of a symbolic link", |dir| {
        symlink("x".repeat(300), dir.join("a"))?;
        Ok(format!("{}", fs::symlink_metadata(dir.join("a"))?.len()))
    }),
    ("a circle of links", |dir| {
        symlink("b", dir.join("a"))?;
        symlink("a", dir.join("b"))?;
        ok(File::open(dir.join("a")))
    }),
    ("links of a directory", |dir| {
        fs::create_dir(dir.join("d"))?;
        Ok(format!("{}", fs::metadata(dir)?.nlink()))
    }),
    ("a name of 255 bytes", |dir| ok(fs::write(dir.join("n".repeat(255)), ""))),
    ("a name of 256 bytes", |dir| ok(fs::write(dir.join("n".repeat(256)), ""))),
    ("a name that is not UTF-8", |dir| {
        let name = OsStr::from_bytes(b"\xff\xfe\n\x01");
        fs::write(dir.join(name), "")?;
        let found = fs::read_dir(dir)?.next().expect("there is one")?.file_name();
        Ok(format!("{}", found == name))
    }),
    ("names that differ in case", |dir| {
        fs::write(dir.join("a"), "")?;
        fs::write(dir.join("A"), "")?;
        Ok(format!("{}", fs::read_dir(dir)?.count()))
    }),
    ("a directory that changes while it is listed", |dir| {
        (0..300).try_for_each(|number| fs::write(dir.join(format!("{number}")), ""))?;
        let mut seen = BTreeSet::new();
        for (number, entry) in fs::read_dir(dir)?.enumerate() {
            let name = entry?.file_name();
            fs::remove_file(dir.join(&name))?;
            assert!(seen.insert(name), "twice, at {number}");
        }
        Ok(format!("{} seen, {} left", seen.len(), fs::read_dir(dir)?.count()))
    }),
    ("remove a full directory", |dir| {
        fs::create_dir_all(dir.join("a/b"))?;
        ok(fs::remove_dir(dir.join("a")))
    }),
    ("remove the working directory", |dir| {
        fs::create_dir(dir.join("a"))?;
        let before = std::env::current_dir()?;
        std::env::set_current_dir(dir.join("a"))?;
        fs::remove_dir(dir.join("a"))?;
        let said = ok(fs::write("x", ""));
        std::env::set_current_dir(before)?;
        said
    }),
    ("remove a directory as a file", |dir| {
        fs::create_dir(dir.join("a"))?;
        ok(fs::remove_file(dir.join("a")))
    }),
    ("inotify", inotified),
    ("append from two sides", |dir| {
        let mut one = File::options().append(true).create(true).mode(0o600).open(dir.join("f"))?;
        let mut two = File::options().append(true).read(true).open(dir.join("f"))?;
        one.write_all(b"1")?;
        two.write_all(b"2")?;
        one.write_all(b"3")?;
        two.rewind()?;
        std::io::read_to_string(two)
    }),
];

fn rename2(dir: &Path, from: &str, to: &str, flags: u32) -> std::io::Result<i64> {
    let (from, to) = (c(&dir.join(from)), c(&dir.join(to)));
    // SAFETY: two NUL-terminated paths.
    check(unsafe {
        libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags)
    })
}

fn renamed(dir: &Path, flags: u32) -> Said {
    fs::write(dir.join("a"), "1")?;
    fs::write(dir.join("b"), "2")?;
    rename2(dir, "a", "b", flags)?;
    Ok(format!("{} {}", fs::read_to_string(dir.join("a"))?, fs::read_to_string(dir.join("b"))?))
}

/// The events of a few changes.
fn inotified(dir: &Path) -> Said {
    // SAFETY: a NUL-terminated path, and a buffer of the length that is told.
    let (events, len) = unsafe {
        let fd = check(libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC))? as i32;
        let mask = libc::IN_CREATE | libc::IN_MODIFY | libc::IN_MOVED_TO | libc::IN_DELETE;
        check(libc::inotify_add_watch(fd, c(dir).as_ptr(), mask))?;
        fs::write(dir.join("a"), "1")?;
        fs::rename(dir.join("a"), dir.join("b"))?;
        fs::remove_file(dir.join("b"))?;
        let mut events = [0u8; 4096];
        let len = check(libc::read(fd, events.as_mut_ptr().cast(), events.len()) as i64)?;
        libc::close(fd);
        (events, len as usize)
    };
    let mut at = 0;
    let mut masks = Vec::new();
    while at < len {
        let word = |offset: usize| u32::from_ne_bytes(events[at + offset..][..4].try_into().unwrap());
        masks.push(format!("{:x}", word(4)));
        at += 16 + word(12) as usize;
    }
    Ok(masks.join(" "))
}
