//! What a test finds on each channel and share. `tests/long/transports.rs` runs it, on the host, and compares.

#![expect(clippy::print_stdout, reason = "the driver reads it")]

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, ptr};

/// The directory that is shared for writing.
fn shared() -> PathBuf {
    env::var_os("LVH_TEST_SCRATCH").unwrap_or(env!("CARGO_TARGET_TMPDIR").into()).into()
}

/// A directory of this test in it, empty.
fn scratch(name: &str) -> PathBuf {
    // Others run the same beside us, with the same directory of the host.
    let run = env::var("LVH_TEST_RUN").unwrap_or_else(|_| "by-hand".to_owned());
    let directory = shared().join("transport").join(run).join(lvh::kernel_release()).join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// Says what only the host can judge.
#[lvh::test]
fn tells() {
    let mounts = read("/proc/mounts");
    let fstype = |target: &str| {
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        fields.filter(|fields| fields[1] == target).map(|fields| fields[2].to_owned()).last()
    };
    let scratch = shared().canonicalize().unwrap();
    println!("release: {}", lvh::kernel_release());
    println!("root: {}", fstype("/").unwrap());
    println!("scratch: {}", fstype(scratch.to_str().unwrap()).unwrap_or_else(|| "none".to_owned()));
    println!("arguments: {:?}", env::args().collect::<Vec<_>>());
    println!("directory: {}", env::current_dir().unwrap().display());
    println!("forwarded: {:?} {:?}", env::var("RUST_LVH"), env::var("LVH_TEST_ODD"));
    println!("not forwarded: {:?} {:?}", env::var("ONLY_ON_THE_HOST"), env::var("LVH_SHARE"));
    println!("clock: {}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
}

/// Writes what the host must find, and must not find.
#[lvh::test]
fn writes() {
    let directory = scratch("writes");
    fs::create_dir(directory.join("deep")).unwrap();
    fs::write(directory.join("deep/file"), lvh::kernel_release()).unwrap();
    fs::set_permissions(directory.join("deep/file"), fs::Permissions::from_mode(0o640)).unwrap();
    let large: Vec<u8> = (0..300_000u32).map(|number| (number % 251) as u8).collect();
    fs::write(directory.join("large"), large).unwrap();
    fs::write(directory.join("empty"), "").unwrap();
    let again = directory.with_file_name("again").join("file");
    assert_eq!(read(&again), "first", "what `files_change` wrote");
    fs::write(again, "again").unwrap();
    fs::write("written-by-a-guest", "x").unwrap();
    fs::create_dir_all("/etc").unwrap();
    fs::write("/etc/written-by-a-guest", "x").unwrap();
    fs::write("/tmp/written-by-a-guest", "x").unwrap();
}

/// What is written to a standard stream arrives whole, however much it is.
#[lvh::test]
fn floods() {
    let mut out = io::stdout().lock();
    for number in 0..env::var("LVH_TEST_LINES").unwrap().parse::<u32>().unwrap() {
        writeln!(out, "flood {number:05} {}", "x".repeat(51)).unwrap();
    }
}

/// A file that only its owner may read is read by root, as on the host.
#[lvh::test]
fn reads_a_private_file() {
    let file = env::var("LVH_TEST_PRIVATE").unwrap();
    if read("/proc/mounts").lines().any(|line| line.contains(" / overlay ")) {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(file), "private");
    } else {
        lvh::skip!("nothing of the host is shared");
    }
}

#[lvh::test]
fn names_change() {
    let directory = scratch("names");
    let at = |name: &str| directory.join(name);
    fs::write(at("old"), "1").unwrap();
    fs::write(at("target"), "2").unwrap();
    fs::rename(at("old"), at("target")).unwrap();
    assert_eq!(read(at("target")), "1");
    fs::hard_link(at("target"), at("hard")).unwrap();
    assert_eq!(fs::metadata(at("target")).unwrap().nlink(), 2);
    assert_eq!(fs::metadata(at("target")).unwrap().ino(), fs::metadata(at("hard")).unwrap().ino());
    symlink("target", at("soft")).unwrap();
    assert_eq!(read(at("soft")), "1");
    assert_eq!(fs::read_link(at("soft")).unwrap(), Path::new("target"));
    fs::remove_file(at("target")).unwrap();
    assert_eq!(read(at("hard")), "1");
    assert_eq!(fs::metadata(at("soft")).unwrap_err().kind(), io::ErrorKind::NotFound);
    fs::create_dir_all(at("a/b/c")).unwrap();
    fs::rename(at("a/b"), at("moved")).unwrap();
    assert!(at("moved/c").is_dir());
    assert_eq!(fs::remove_dir(at("moved")).unwrap_err().kind(), io::ErrorKind::DirectoryNotEmpty);
    for number in 0..500 {
        fs::write(directory.join("moved/c").join(format!("file-{number}")), "").unwrap();
    }
    assert_eq!(fs::read_dir(at("moved/c")).unwrap().count(), 500);
    fs::remove_dir_all(at("moved")).unwrap();
    assert!(!at("moved").exists());
}

#[lvh::test]
fn files_change() {
    // `writes` changes it, which is brought home as well.
    fs::write(scratch("again").join("file"), "first").unwrap();
    let path = scratch("files").join("file");
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    file.write_all(b"0123456789").unwrap();
    file.set_len(4).unwrap();
    File::options().append(true).open(&path).unwrap().write_all(b"++").unwrap();
    file.write_all_at(b"A", 0).unwrap();
    file.sync_all().unwrap();
    assert_eq!(read(&path), "A123++");
    file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o751)).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.mtime(), metadata.mode() & 0o777, metadata.len()), (1_000_000, 0o751, 6));
    // Open files outlive their names.
    fs::remove_file(&path).unwrap();
    file.rewind().unwrap();
    assert_eq!(io::read_to_string(&file).unwrap(), "A123++");
}

#[lvh::test]
fn files_have_attributes_or_say_that_they_have_not() {
    let path = scratch("attributes").join("file");
    fs::write(&path, "").unwrap();
    let (file, name) = (CString::new(path.to_str().unwrap()).unwrap(), c"user.lvh");
    // SAFETY: NUL-terminated strings, and the pointer and length of one value.
    if unsafe { libc::setxattr(file.as_ptr(), name.as_ptr(), b"value".as_ptr().cast(), 5, 0) } != 0 {
        let error = io::Error::last_os_error();
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "{error}");
        lvh::skip!("{error}");
    }
    let mut value = [0u8; 8];
    // SAFETY: as above; the buffer is as long as we say.
    let len = unsafe { libc::getxattr(file.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    assert_eq!((len, &value[..5]), (5, &b"value"[..]));
}

#[lvh::test]
fn files_are_locked_and_mapped() {
    let path = scratch("locks").join("file");
    fs::write(&path, [0; 8192]).unwrap();
    let (first, second) = (File::options().read(true).write(true).open(&path).unwrap(), File::open(&path).unwrap());
    first.lock().unwrap();
    assert!(matches!(second.try_lock(), Err(fs::TryLockError::WouldBlock)));
    first.unlock().unwrap();
    second.lock().unwrap();
    // SAFETY: a mapping of an open file, checked before it is used.
    unsafe {
        let (protection, fd) = (libc::PROT_READ | libc::PROT_WRITE, first.as_raw_fd());
        let pointer = libc::mmap(ptr::null_mut(), 8192, protection, libc::MAP_SHARED, fd, 0);
        assert_ne!(pointer, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        pointer.cast::<u8>().add(5000).write(b'm');
        assert_eq!(libc::msync(pointer, 8192, libc::MS_SYNC), 0);
        assert_eq!(libc::munmap(pointer, 8192), 0);
    }
    assert_eq!(fs::read(&path).unwrap()[5000], b'm');
}

#[lvh::test]
fn programs_run_from_scratch() {
    let program = scratch("programs").join("copy");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new(&program).args(["--list", "--format=terse"]).output().unwrap();
    // A serial line would take minutes to bring it home.
    fs::remove_file(program).unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("programs_run_from_scratch"), "{}", output.status);
}

/// `tests/long/warm.rs` looks at how its VM starts.
#[lvh::test(fresh_boot)]
fn boots_afresh() {}

lvh::main!();
