use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use fuse_backend_rs::abi::fuse_abi::{CreateIn, InHeader};
use fuse_backend_rs::api::filesystem::{Context, FileSystem, SetattrValid};
use tempfile::TempDir;

use super::calls;
use super::exports::FsExports;
use super::files::Cache;
use super::handler::Fs;
use super::nodes::{Nodes, Place, TOP};
use super::share::Share;
use crate::vhost::fake_guest::{DATA, FakeGuest, MEMORY, NEXT, Odd, WRITE};

/// A directory that goes with the test.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn read_only(&self) -> Share {
        let exports =
            FsExports::ReadOnly { root: self.0.path().to_owned(), hidden: vec!["/proc".into(), "/a/b".into()] };
        Share::new(&exports).unwrap()
    }

    fn writable(&self) -> Share {
        Share::new(&FsExports::Writable(vec![self.0.path().to_owned()])).unwrap()
    }
}

fn context() -> Context {
    Context::default()
}

fn find(share: &Share, parent: u64, name: &str) -> io::Result<u64> {
    let name = CString::new(name).unwrap();
    let entry = share.lookup(&context(), parent, &name)?;
    if entry.inode == 0 { Err(io::Error::from_raw_os_error(libc::ENOENT)) } else { Ok(entry.inode) }
}

fn code<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

fn list(share: &Share, id: u64) -> Vec<String> {
    let mut names = Vec::new();
    let mut add = |entry: fuse_backend_rs::api::filesystem::DirEntry<'_>, _| {
        names.push(String::from_utf8(entry.name.to_vec()).unwrap());
        Ok(1)
    };
    share.readdirplus(&context(), id, 0, 4096, 0, &mut add).unwrap();
    names.retain(|name| name != "." && name != "..");
    names.sort();
    names
}

fn create(share: &Share, parent: u64, name: &CStr, mode: u32) -> io::Result<(u64, u64)> {
    let flags = (libc::O_RDWR | libc::O_CREAT) as u32;
    let args = CreateIn { flags, mode, umask: 0, fuse_flags: 0 };
    let (entry, handle, ..) = share.create(&context(), parent, name, args)?;
    Ok((entry.inode, handle.unwrap()))
}

#[test]
fn names_stay_in_their_directory() {
    let outside = Scratch::new();
    let inside = outside.0.path().join("inside");
    fs::create_dir(&inside).unwrap();
    fs::write(outside.0.path().join("secret"), "s").unwrap();
    symlink("../secret", inside.join("link")).unwrap();
    symlink("..", inside.join("up")).unwrap();
    let share = Share::new(&FsExports::Writable(vec![inside])).unwrap();
    let top = find(&share, TOP, "0").unwrap();
    for name in ["..", ".", "", "../secret", "up/secret", "/etc/passwd"] {
        assert_eq!(code(find(&share, top, name)), Some(libc::EINVAL), "{name}");
    }
    let link = find(&share, top, "link").unwrap();
    assert_eq!(share.readlink(&context(), link).unwrap(), b"../secret");
    assert!(code(share.open(&context(), link, libc::O_RDONLY as u32, 0)).is_some());
    let up = find(&share, top, "up").unwrap();
    assert!(code(find(&share, up, "secret")).is_some());
    assert!(code(create(&share, up, c"new", 0o600)).is_some());
    assert_eq!(code(share.unlink(&context(), up, c"secret")), Some(libc::ENOTDIR));
    assert_eq!(code(share.unlink(&context(), top, c"../secret")), Some(libc::EINVAL));
    assert!(outside.0.path().join("secret").exists());
}

#[test]
fn a_directory_that_becomes_a_link_is_not_followed() {
    let outside = Scratch::new();
    let inside = Scratch::new();
    fs::write(outside.0.path().join("secret"), "s").unwrap();
    fs::create_dir(inside.0.path().join("d")).unwrap();
    let share = inside.writable();
    let top = find(&share, TOP, "0").unwrap();
    let directory = find(&share, top, "d").unwrap();
    fs::remove_dir(inside.0.path().join("d")).unwrap();
    symlink(outside.0.path(), inside.0.path().join("d")).unwrap();
    assert!(code(find(&share, directory, "secret")).is_some());
    assert!(code(create(&share, directory, c"new", 0o600)).is_some());
    assert_eq!(fs::read_dir(outside.0.path()).unwrap().count(), 1);
}

#[test]
fn hidden_directories_are_empty_and_always_there() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.0.path().join("a/b/c")).unwrap();
    let share = scratch.read_only();
    let proc = find(&share, TOP, "proc").unwrap();
    let hidden = find(&share, find(&share, TOP, "a").unwrap(), "b").unwrap();
    for directory in [proc, hidden] {
        assert_eq!(list(&share, directory), Vec::<String>::new());
        assert_eq!(code(find(&share, directory, "c")), Some(libc::ENOENT));
        let (stat, _) = share.getattr(&context(), directory, None).unwrap();
        assert_eq!(stat.st_mode, libc::S_IFDIR | 0o555);
    }
    assert_eq!(list(&share, TOP), ["a"]);
}

#[test]
fn a_read_only_tree_cannot_be_changed() {
    let scratch = Scratch::new();
    fs::write(scratch.0.path().join("f"), "x").unwrap();
    let share = scratch.read_only();
    let file = find(&share, TOP, "f").unwrap();
    let context = context();
    let stat = calls::no_attributes();
    let refused = [
        code(share.open(&context, file, libc::O_RDWR as u32, 0)),
        code(share.open(&context, file, libc::O_TRUNC as u32, 0)),
        code(create(&share, TOP, c"new", 0o600)),
        code(share.mkdir(&context, TOP, c"new", 0o700, 0)),
        code(share.mknod(&context, TOP, c"new", libc::S_IFREG, 0, 0)),
        code(share.symlink(&context, c"f", TOP, c"new")),
        code(share.link(&context, file, TOP, c"new")),
        code(share.unlink(&context, TOP, c"f")),
        code(share.rmdir(&context, TOP, c"f")),
        code(share.rename(&context, TOP, c"f", TOP, c"g", 0)),
        code(share.setattr(&context, file, stat, None, SetattrValid::MODE)),
    ];
    assert_eq!(refused, [Some(libc::EROFS); 11]);
    assert_eq!(fs::read_dir(scratch.0.path()).unwrap().count(), 1);
}

#[test]
fn special_files_are_never_opened() {
    let scratch = Scratch::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, scratch.0.path().join("fifo"), rustix::fs::Mode::from_raw_mode(0o600))
        .unwrap();
    for share in [scratch.read_only(), scratch.writable()] {
        let top = if share.writable { find(&share, TOP, "0").unwrap() } else { TOP };
        let fifo = find(&share, top, "fifo").unwrap();
        assert_eq!(code(share.open(&context(), fifo, libc::O_RDONLY as u32, 0)), Some(libc::EACCES));
    }
}

#[test]
fn a_writable_directory_can_be_worked_in() {
    let scratch = Scratch::new();
    let share = scratch.writable();
    let context = context();
    let top = find(&share, TOP, "0").unwrap();
    let (file, handle) = create(&share, top, c"f", 0o4777).unwrap();
    let path = |name: &str| scratch.0.path().join(name);
    assert_eq!(fs::metadata(path("f")).unwrap().permissions().mode() & 0o7777, 0o777, "no set-user-id");
    let directory = share.mkdir(&context, top, c"d", 0o777, 0).unwrap().inode;
    share.rename(&context, top, c"f", directory, c"g", 0).unwrap();
    assert_eq!(find(&share, directory, "g").unwrap(), file, "the file keeps its node");
    assert_eq!(share.getattr(&context, file, None).unwrap().0.st_ino, fs::metadata(path("d/g")).unwrap().ino());
    let mut wanted = calls::no_attributes();
    wanted.st_size = 5;
    wanted.st_uid = 12345;
    share.setattr(&context, file, wanted, Some(handle), SetattrValid::SIZE).unwrap();
    assert_eq!(code(share.setattr(&context, file, wanted, None, SetattrValid::UID)), Some(libc::EPERM));
    share.unlink(&context, directory, c"g").unwrap();
    assert_eq!(share.getattr(&context, file, Some(handle)).unwrap().0.st_size, 5, "still open, still there");
    share.release(&context, file, 0, handle, false, false, None).unwrap();
    assert_eq!(code(share.getattr(&context, file, None)), Some(libc::ENOENT));
    assert_eq!(code(share.mknod(&context, top, c"n", libc::S_IFCHR | 0o666, 0x103, 0)), Some(libc::EPERM));
    assert_eq!(code(share.rmdir(&context, TOP, c"0")), Some(libc::EROFS));
    share.rmdir(&context, top, c"d").unwrap();
    assert_eq!(list(&share, top), Vec::<String>::new());
}

#[test]
fn what_the_host_replaces_is_a_new_file() {
    let scratch = Scratch::new();
    fs::write(scratch.0.path().join("f"), "old").unwrap();
    let share = scratch.writable();
    let top = find(&share, TOP, "0").unwrap();
    let old = find(&share, top, "f").unwrap();
    fs::write(scratch.0.path().join("g"), "new").unwrap();
    fs::rename(scratch.0.path().join("g"), scratch.0.path().join("f")).unwrap();
    assert_eq!(code(share.open(&context(), old, libc::O_RDONLY as u32, 0)), Some(libc::ESTALE));
    assert_ne!(find(&share, top, "f").unwrap(), old);
}

#[test]
fn open_files_are_bounded() {
    let scratch = Scratch::new();
    for number in 0..2 * Cache::SIZE {
        fs::write(scratch.0.path().join(number.to_string()), "").unwrap();
    }
    let share = scratch.read_only();
    for number in 0..2 * Cache::SIZE {
        let file = find(&share, TOP, &number.to_string()).unwrap();
        share.open(&context(), file, libc::O_RDONLY as u32, 0).unwrap();
        assert!(share.state().cache.len() <= Cache::SIZE);
    }
    share.destroy();
    assert_eq!(share.state().cache.len(), 0);
    let share = scratch.writable();
    let top = find(&share, TOP, "0").unwrap();
    let file = find(&share, top, "0").unwrap();
    let opened = (0..5000).map_while(|_| share.open(&context(), file, 0, 0).ok()).count();
    assert!(opened <= 4096, "{opened}");
    assert_eq!(code(share.open(&context(), file, 0, 0)), Some(libc::EMFILE));
}

#[test]
fn nodes_are_forgotten_with_their_parents() {
    let mut nodes = Nodes::new(Place::Shared(0), (0, 0), 5);
    let enter = |nodes: &mut Nodes, parent, name: &str| nodes.enter(parent, name.as_bytes(), Place::Beneath, (0, 1));
    let a = enter(&mut nodes, TOP, "a").unwrap();
    let b = enter(&mut nodes, a, "b").unwrap();
    assert_eq!(nodes.path(b).unwrap(), (0, c"a/b".to_owned()));
    nodes.forget(a, 1);
    assert_eq!(nodes.path(b).unwrap().1, c"a/b".to_owned(), "a child keeps its parent");
    nodes.forget(b, u64::MAX);
    assert_eq!(nodes.len(), 1);
    for number in 0..10 {
        let entered = enter(&mut nodes, TOP, &number.to_string());
        assert_eq!(entered.is_ok(), number < 4);
    }
    nodes.forget(TOP, 100);
    nodes.clear();
    assert_eq!(nodes.len(), 1);
}

#[test]
fn a_circle_of_nodes_has_no_path() {
    let mut nodes = Nodes::new(Place::Shared(0), (0, 0), 10);
    let a = nodes.enter(TOP, b"a", Place::Beneath, (0, 1)).unwrap();
    let b = nodes.enter(a, b"b", Place::Beneath, (0, 2)).unwrap();
    nodes.rename((TOP, b"a"), (b, b"a"));
    assert_eq!(code(nodes.path(a)), Some(libc::ENAMETOOLONG));
    nodes.forget(a, 1);
    nodes.forget(b, 1);
}

/// Puts a request into the guest's memory and returns the error of the answer, if there is one.
fn ask(guest: &mut FakeGuest, device: &mut Fs, request: &[u8]) -> Option<i32> {
    guest.write(DATA, request);
    guest.write(DATA + 0x10_0000, &[0xff; 16]);
    guest.offer(1, &[(DATA, request.len() as u32, NEXT), (DATA + 0x10_0000, 0x1_0000, WRITE)]);
    guest.run(device);
    let answer = guest.read(DATA + 0x10_0000, 16);
    (guest.last_used(1) >= 16).then(|| i32::from_le_bytes(answer[4..8].try_into().unwrap()))
}

fn request(opcode: u32, nodeid: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size_of::<InHeader>());
    bytes.extend(((size_of::<InHeader>() + len) as u32).to_le_bytes());
    bytes.extend(opcode.to_le_bytes());
    bytes.extend(77_u64.to_le_bytes());
    bytes.extend(nodeid.to_le_bytes());
    bytes.resize(size_of::<InHeader>(), 0);
    bytes
}

#[test]
fn a_malformed_request_is_answered() {
    let scratch = Scratch::new();
    let mut device = Fs::new(scratch.read_only());
    let mut guest = FakeGuest::new(2);
    // A lookup without the zero that ends its name; a request with an unknown number.
    let lookup = [request(1, TOP, 3), b"abc".to_vec()].concat();
    assert!(ask(&mut guest, &mut device, &lookup).is_some_and(|error| error < 0));
    assert_eq!(ask(&mut guest, &mut device, &request(999, TOP, 0)), Some(-libc::ENOSYS));
    // Longer than any request of Linux: 2 MiB by overlapping descriptors, for an ioctl that would copy it all.
    guest.write(DATA, &request(39, TOP, 1 << 21));
    guest.offer(1, &[(DATA, 1 << 20, NEXT), (DATA, 1 << 20, NEXT), (DATA + 0x10_0000, 0x1000, WRITE)]);
    guest.run(&mut device);
    assert_eq!(guest.read(DATA + 0x10_0000 + 4, 4), (-libc::EIO).to_le_bytes());
}

/// Requests with likely and unlikely fields in any order, on a directory that may be written.
#[test]
fn odd_requests_do_no_harm() {
    let outside = Scratch::new();
    let inside = outside.0.path().join("inside");
    fs::create_dir(&inside).unwrap();
    fs::write(outside.0.path().join("secret"), "s").unwrap();
    let mut device = Fs::new(Share::new(&FsExports::Writable(vec![inside])).unwrap());
    let mut guest = FakeGuest::new(2);
    let mut odd = Odd(4711);
    let (mut known, mut served) = (vec![TOP], 0);
    for _ in 0..20_000 {
        let top = [request(1, TOP, 2), b"0\0".to_vec()].concat();
        let body = odd_body(&mut odd);
        let len = if odd.below(20) == 0 { odd.number() as usize } else { body.len() };
        let node = known[odd.below(known.len() as u64) as usize] + u64::from(odd.below(10) == 0);
        let some = [request(odd.below(52) as u32, node, len), body].concat();
        if ask(&mut guest, &mut device, if odd.below(10) == 0 { &top } else { &some }) == Some(0) {
            served += 1;
            // The node, where the answer is an entry.
            known.push(u64::from_le_bytes(guest.read(DATA + 0x10_0010, 8).try_into().unwrap()).min(1 << 20));
            known.drain(..known.len().saturating_sub(12));
        }
    }
    assert!(served > 2000, "only {served} requests made sense");
    assert!(names(outside.0.path()).iter().eq(["inside", "secret"]));
    assert_eq!(fs::read(outside.0.path().join("secret")).unwrap(), b"s");
}

/// A few small numbers, as most requests start with, and names.
fn odd_body(odd: &mut Odd) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..odd.below(12) {
        let word = [0, odd.below(8), odd.below(4096), odd.number()][odd.below(4) as usize];
        body.extend(&word.to_le_bytes()[..4]);
    }
    for _ in 0..odd.below(3) {
        let name = ["a", "b", "c", "..", "../secret", "0", "."][odd.below(7) as usize];
        body.extend(name.as_bytes());
        body.push(0);
    }
    let tail = odd.below(9) as usize;
    if odd.below(8) == 0 {
        body.extend(odd.bytes(tail));
    }
    body
}

/// Queues of noise.
#[test]
fn odd_queues_do_no_harm() {
    let scratch = Scratch::new();
    let mut device = Fs::new(scratch.read_only());
    let mut guest = FakeGuest::new(2);
    let mut odd = Odd(5);
    guest.write(DATA, &odd.bytes(MEMORY - DATA as usize));
    for _ in 0..2000 {
        for queue in 0..2 {
            guest.scribble(queue, &mut || [0, 1, 2, odd.number() as u8][odd.below(4) as usize]);
        }
        guest.run(&mut device);
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
