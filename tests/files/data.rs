//! Content: written, mapped, copied, locked.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::ptr;

use super::call::{Case, Said, check, ok, open};

const NEW: i32 = libc::O_CREAT | libc::O_RDWR;

pub(crate) const CASES: &[Case] = &[
    ("truncate", |dir| {
        let file = open(&dir.join("f"), NEW, 0o600)?;
        file.write_all_at(b"abcdef", 0)?;
        file.set_len(2)?;
        file.set_len(4)?;
        Ok(format!("{:?}", fs::read(dir.join("f"))?))
    }),
    ("open with truncation", |dir| {
        fs::write(dir.join("f"), "abc")?;
        Ok(format!("{}", open(&dir.join("f"), libc::O_RDWR | libc::O_TRUNC, 0)?.metadata()?.len()))
    }),
    ("fallocate", |dir| allocated(dir, 0)),
    ("fallocate beyond the end", |dir| allocated(dir, libc::FALLOC_FL_KEEP_SIZE)),
    ("punch a hole", |dir| allocated(dir, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE)),
    ("zero a range", |dir| allocated(dir, libc::FALLOC_FL_ZERO_RANGE)),
    ("collapse a range", |dir| allocated(dir, libc::FALLOC_FL_COLLAPSE_RANGE)),
    ("holes", |dir| {
        let file = open(&dir.join("f"), NEW, 0o600)?;
        file.set_len(1 << 20)?;
        file.write_all_at(&[1; 4096], 512 << 10)?;
        let at = |whence| {
            // SAFETY: no memory is involved.
            check(unsafe { libc::lseek(file.as_raw_fd(), 0, whence) })
        };
        let blocks = file.metadata()?.blocks();
        Ok(format!("data at {}, hole at {}, {blocks} blocks", at(libc::SEEK_DATA)?, at(libc::SEEK_HOLE)?))
    }),
    ("copy_file_range", |dir| {
        fs::write(dir.join("a"), "0123456789")?;
        let (from, to) = (File::open(dir.join("a"))?, open(&dir.join("b"), NEW, 0o600)?);
        let none = ptr::null_mut();
        // SAFETY: two open descriptors; no offsets.
        let len = check(unsafe { libc::copy_file_range(from.as_raw_fd(), none, to.as_raw_fd(), none, 6, 0) } as i64)?;
        Ok(format!("{len} {}", fs::read_to_string(dir.join("b"))?))
    }),
    ("sendfile", |dir| {
        fs::write(dir.join("a"), "0123456789")?;
        let (from, to) = (File::open(dir.join("a"))?, open(&dir.join("b"), NEW, 0o600)?);
        // SAFETY: two open descriptors; no offset.
        let len = check(unsafe { libc::sendfile(to.as_raw_fd(), from.as_raw_fd(), ptr::null_mut(), 6) } as i64)?;
        Ok(format!("{len} {}", fs::read_to_string(dir.join("b"))?))
    }),
    ("splice", |dir| {
        fs::write(dir.join("a"), "0123456789")?;
        let (mut reader, writer) = io::pipe()?;
        let (from, none) = (File::open(dir.join("a"))?, ptr::null_mut());
        // SAFETY: as above.
        check(unsafe { libc::splice(from.as_raw_fd(), none, writer.as_raw_fd(), none, 4, 0) } as i64)?;
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        Ok(text)
    }),
    ("map shared", |dir| mapped(dir, libc::MAP_SHARED)),
    ("map private", |dir| mapped(dir, libc::MAP_PRIVATE)),
    ("map a removed file", |dir| {
        let file = open(&dir.join("f"), NEW, 0o600)?;
        file.set_len(8192)?;
        fs::remove_file(dir.join("f"))?;
        map(&file, libc::MAP_SHARED, |bytes| bytes[5000] = 7)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, 5000)?;
        Ok(format!("{byte:?}"))
    }),
    ("map to execute", |dir| {
        fs::write(dir.join("f"), [0xc3; 4096])?;
        let file = File::open(dir.join("f"))?;
        // SAFETY: a new mapping of an open file, which nobody runs.
        let pointer = unsafe {
            let protection = libc::PROT_READ | libc::PROT_EXEC;
            libc::mmap(ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
        };
        Ok(format!("{}", pointer != libc::MAP_FAILED))
    }),
    ("direct", |dir| {
        #[repr(align(4096))]
        struct Page([u8; 4096]);
        let file = open(&dir.join("f"), NEW | libc::O_DIRECT, 0o600)?;
        let page = Page([5; 4096]);
        file.write_all_at(&page.0, 0)?;
        Ok(format!("{}", fs::read(dir.join("f"))?.len()))
    }),
    ("synchronous", |dir| {
        let mut file = open(&dir.join("f"), NEW | libc::O_SYNC, 0o600)?;
        file.write_all(b"abc")?;
        file.sync_all()?;
        ok(file.sync_data())
    }),
    ("sync a directory", |dir| ok(File::open(dir)?.sync_all())),
    ("flock", |dir| {
        fs::write(dir.join("f"), "")?;
        let (one, two) = (File::open(dir.join("f"))?, File::open(dir.join("f"))?);
        one.lock_shared()?;
        let shared = two.try_lock_shared().is_ok();
        two.unlock()?;
        let exclusive = two.try_lock().is_ok();
        one.unlock()?;
        Ok(format!("{shared} {exclusive} {}", two.try_lock().is_ok()))
    }),
    ("locks of descriptions", |dir| {
        let (one, two) = (open(&dir.join("f"), NEW, 0o600)?, open(&dir.join("f"), NEW, 0o600)?);
        let first = lock(&one, libc::F_OFD_SETLK, (0, 10));
        Ok(format!(
            "{} {} {}",
            first?,
            said(lock(&two, libc::F_OFD_SETLK, (5, 10))),
            said(lock(&two, libc::F_OFD_SETLK, (20, 1)))
        ))
    }),
    ("locks of processes", |dir| {
        let (one, two) = (open(&dir.join("f"), NEW, 0o600)?, open(&dir.join("f"), NEW, 0o600)?);
        lock(&one, libc::F_SETLK, (0, 10))?;
        Ok(said(lock(&two, libc::F_SETLK, (5, 10))))
    }),
    ("a lease", |dir| {
        fs::write(dir.join("f"), "")?;
        let file = File::open(dir.join("f"))?;
        // SAFETY: no memory is involved.
        ok(check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) }))
    }),
    ("a program that is open to be written", |dir| {
        let mut program = program(dir)?;
        program.arg("--list").stdout(Stdio::null());
        let file = File::options().write(true).open(dir.join("p"))?;
        let busy = program.status().map(|status| status.success());
        drop(file);
        let free = program.status().map(|status| status.success());
        Ok(format!("{:?} {}", busy.map_err(|error| error.kind()), free?))
    }),
    ("a program that runs is written", |dir| {
        let mut program = program(dir)?;
        // SAFETY: one system call, without memory. The child stops where it becomes the program.
        unsafe { program.pre_exec(|| check(libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0)).map(drop)) };
        let mut child = program.spawn()?;
        let opened = ok(File::options().write(true).open(dir.join("p")));
        child.kill()?;
        child.wait()?;
        Ok(super::call::said(opened))
    }),
    ("the largest offset", |dir| {
        let file = open(&dir.join("f"), NEW, 0o600)?;
        file.set_len(1 << 40)?;
        let len = file.metadata()?.len();
        fs::remove_file(dir.join("f"))?;
        Ok(format!("{len}"))
    }),
];

/// A program in the directory: this one, for the guest may have no other.
fn program(dir: &Path) -> io::Result<Command> {
    fs::copy(std::env::current_exe()?, dir.join("p"))?;
    let mut command = Command::new(dir.join("p"));
    command.env_clear();
    Ok(command)
}

fn said(result: io::Result<i64>) -> String {
    result.map_or_else(|error| format!("{:?}", error.kind()), |_| "locked".to_owned())
}

/// Locks `len` bytes from `start` on for writing.
fn lock(file: &File, command: i32, (start, len): (i64, i64)) -> io::Result<i64> {
    // SAFETY: all zero is a valid flock.
    let mut wanted: libc::flock = unsafe { std::mem::zeroed() };
    (wanted.l_type, wanted.l_whence) = (libc::F_WRLCK as i16, libc::SEEK_SET as i16);
    (wanted.l_start, wanted.l_len) = (start, len);
    // SAFETY: a flock that outlives the call.
    check(unsafe { libc::fcntl(file.as_raw_fd(), command, &wanted) })
}

/// fallocate(2) on the second of three pages.
fn allocated(dir: &Path, mode: i32) -> Said {
    let file = open(&dir.join("f"), NEW, 0o600)?;
    file.write_all_at(&[1; 3 * 4096], 0)?;
    let beyond = if mode == 0 || mode == libc::FALLOC_FL_KEEP_SIZE { 3 } else { 0 };
    // SAFETY: no memory is involved.
    check(unsafe { libc::fallocate(file.as_raw_fd(), mode, (1 + beyond) * 4096, 4096) })?;
    let (content, blocks) = (fs::read(dir.join("f"))?, file.metadata()?.blocks());
    Ok(format!(
        "{} bytes, {} of them zero, {blocks} blocks",
        content.len(),
        content.iter().filter(|&&byte| byte == 0).count()
    ))
}

fn map(file: &File, flags: i32, work: impl FnOnce(&mut [u8])) -> io::Result<()> {
    // SAFETY: a new mapping of an open file of two pages, which nobody else has.
    unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let pointer = libc::mmap(ptr::null_mut(), 8192, protection, flags, file.as_raw_fd(), 0);
        if pointer == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        work(std::slice::from_raw_parts_mut(pointer.cast(), 8192));
        check(libc::msync(pointer, 8192, libc::MS_SYNC))?;
        check(libc::munmap(pointer, 8192)).map(drop)
    }
}

fn mapped(dir: &Path, flags: i32) -> Said {
    fs::write(dir.join("f"), [0; 8192])?;
    let file = File::options().read(true).write(true).open(dir.join("f"))?;
    let mut seen = 0;
    map(&file, flags, |bytes| {
        bytes[5000] = 7;
        file.write_all_at(&[9], 10).unwrap();
        seen = bytes[10];
    })?;
    Ok(format!("wrote {}, saw {seen}", fs::read(dir.join("f"))?[5000]))
}
