use std::ffi::CString;
use std::fs;
use std::io::{self, Seek};
use std::os::unix::fs::symlink;
use std::path::Path;

use fuse_backend_rs::abi::fuse_abi::{CreateIn, InHeader};
use fuse_backend_rs::api::filesystem::{Context, FileSystem, SetattrValid};
use tempfile::TempDir;

use super::calls;
use super::exports::FsExports;
use super::files::Cache;
use super::handler::Fs;
use super::nodes::{Nodes, Place, TOP};
use super::share::{Share, State};
use crate::vhost::fake_guest::{DATA, FakeGuest, MEMORY, NEXT, Odd, WRITE};

/// A directory that goes with the test.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn read_only(&self) -> Share {
        Self::share(self.0.path())
    }

    fn share(root: &Path) -> Share {
        let exports = FsExports { root: root.to_owned(), hidden: vec!["/proc".into(), "/a/b".into()] };
        Share::new(&exports).unwrap()
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

#[test]
fn names_stay_in_their_directory() {
    let outside = Scratch::new();
    let inside = outside.0.path().join("inside");
    fs::create_dir(&inside).unwrap();
    fs::write(outside.0.path().join("secret"), "s").unwrap();
    symlink("../secret", inside.join("link")).unwrap();
    symlink("..", inside.join("up")).unwrap();
    let share = Scratch::share(&inside);
    for name in ["..", ".", "", "../secret", "up/secret", "/etc/passwd"] {
        assert_eq!(code(find(&share, TOP, name)), Some(libc::EINVAL), "{name}");
    }
    let link = find(&share, TOP, "link").unwrap();
    assert_eq!(share.readlink(&context(), link).unwrap(), b"../secret");
    assert!(code(share.open(&context(), link, libc::O_RDONLY as u32, 0)).is_some());
    let up = find(&share, TOP, "up").unwrap();
    assert!(code(find(&share, up, "secret")).is_some());
}

#[test]
fn a_directory_that_becomes_a_link_is_not_followed() {
    let outside = Scratch::new();
    let inside = Scratch::new();
    fs::write(outside.0.path().join("secret"), "s").unwrap();
    fs::create_dir(inside.0.path().join("d")).unwrap();
    let share = inside.read_only();
    let directory = find(&share, TOP, "d").unwrap();
    fs::remove_dir(inside.0.path().join("d")).unwrap();
    symlink(outside.0.path(), inside.0.path().join("d")).unwrap();
    assert!(code(find(&share, directory, "secret")).is_some());
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
    for flags in [libc::O_RDWR, libc::O_WRONLY, libc::O_TRUNC] {
        assert_eq!(code(share.open(&context, file, flags as u32, 0)), Some(libc::EROFS));
    }
    let args = CreateIn { flags: libc::O_RDWR as u32, mode: 0o600, umask: 0, fuse_flags: 0 };
    let refused = [
        code(share.create(&context, TOP, c"new", args)),
        code(share.mkdir(&context, TOP, c"new", 0o700, 0)),
        code(share.mknod(&context, TOP, c"new", libc::S_IFREG, 0, 0)),
        code(share.symlink(&context, c"f", TOP, c"new")),
        code(share.link(&context, file, TOP, c"new")),
        code(share.unlink(&context, TOP, c"f")),
        code(share.rmdir(&context, TOP, c"f")),
        code(share.rename(&context, TOP, c"f", TOP, c"g", 0)),
        code(share.setattr(&context, file, calls::no_attributes(), None, SetattrValid::MODE)),
    ];
    // A Linux guest mounts it read-only and asks for none of these.
    assert_eq!(refused, [Some(libc::ENOSYS); 9]);
    assert_eq!(fs::read_dir(scratch.0.path()).unwrap().count(), 1);
}

#[test]
fn special_files_are_never_opened() {
    let scratch = Scratch::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, scratch.0.path().join("fifo"), rustix::fs::Mode::from_raw_mode(0o600))
        .unwrap();
    let share = scratch.read_only();
    let fifo = find(&share, TOP, "fifo").unwrap();
    assert_eq!(code(share.open(&context(), fifo, libc::O_RDONLY as u32, 0)), Some(libc::EACCES));
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
}

fn read(share: &Share, id: u64) -> String {
    let State { nodes, cache } = &mut *share.state();
    let file = cache.get(id, || share.open_file(nodes, id)).unwrap();
    file.rewind().unwrap();
    io::read_to_string(file).unwrap()
}

fn open(share: &Share, id: u64) -> Option<i32> {
    code(share.open(&context(), id, libc::O_RDONLY as u32, 0))
}

fn close(share: &Share, id: u64) {
    share.release(&context(), id, 0, 0, false, false, None).unwrap();
}

fn replace(scratch: &Scratch, name: &str, content: &str) {
    fs::write(scratch.0.path().join("new"), content).unwrap();
    fs::rename(scratch.0.path().join("new"), scratch.0.path().join(name)).unwrap();
}

#[test]
fn a_name_that_leads_to_another_file_is_that_file() {
    let scratch = Scratch::new();
    fs::write(scratch.0.path().join("f"), "old").unwrap();
    fs::create_dir(scratch.0.path().join("d")).unwrap();
    let share = scratch.read_only();
    let (file, directory) = (find(&share, TOP, "f").unwrap(), find(&share, TOP, "d").unwrap());
    replace(&scratch, "f", "newer");
    assert_eq!(share.getattr(&context(), file, None).unwrap().0.st_size, 5);
    assert_eq!((open(&share, file), read(&share, file).as_str()), (None, "newer"));
    close(&share, file);
    assert_eq!(find(&share, TOP, "f").unwrap(), file);

    fs::rename(scratch.0.path().join("d"), scratch.0.path().join("gone")).unwrap();
    fs::create_dir(scratch.0.path().join("d")).unwrap();
    fs::write(scratch.0.path().join("d/x"), "").unwrap();
    assert!(find(&share, directory, "x").is_ok());
    assert_eq!(find(&share, TOP, "d").unwrap(), directory);

    fs::remove_file(scratch.0.path().join("f")).unwrap();
    assert_eq!(open(&share, file), Some(libc::ENOENT));
    fs::create_dir(scratch.0.path().join("f")).unwrap();
    assert_eq!(open(&share, file), Some(libc::ESTALE), "it is of another kind");
    assert_ne!(find(&share, TOP, "f").unwrap(), file);
}

#[test]
fn what_is_open_stays_what_it_was_until_it_is_closed() {
    let scratch = Scratch::new();
    fs::write(scratch.0.path().join("f"), "old").unwrap();
    let share = scratch.read_only();
    let file = find(&share, TOP, "f").unwrap();
    assert_eq!((open(&share, file), open(&share, file)), (None, None));
    replace(&scratch, "f", "newer");
    close(&share, file);
    assert_eq!(share.getattr(&context(), file, None).unwrap().0.st_size, 3);
    assert_eq!((open(&share, file), read(&share, file).as_str()), (None, "old"));
    let other = find(&share, TOP, "f").unwrap();
    assert_eq!(
        (open(&share, other), read(&share, other).as_str(), read(&share, file).as_str()),
        (None, "newer", "old")
    );
    close(&share, file);
    close(&share, file);
    assert_eq!(open(&share, file), Some(libc::ENOENT), "its name is another file's");
}

#[test]
fn a_link_that_leads_elsewhere_is_another_node() {
    let scratch = Scratch::new();
    symlink("one", scratch.0.path().join("l")).unwrap();
    let share = scratch.read_only();
    let link = find(&share, TOP, "l").unwrap();
    symlink("two", scratch.0.path().join("new")).unwrap();
    fs::rename(scratch.0.path().join("new"), scratch.0.path().join("l")).unwrap();
    assert_eq!(share.readlink(&context(), link).unwrap(), b"two");
    let other = find(&share, TOP, "l").unwrap();
    assert_eq!(share.readlink(&context(), other).unwrap(), b"two");
}

#[test]
fn nodes_are_forgotten_with_their_parents() {
    let mut nodes = Nodes::new((0, 0, libc::S_IFDIR), 5);
    let enter = |nodes: &mut Nodes, parent, name: &str| {
        nodes.enter(parent, name.as_bytes(), Place::Beneath, (0, 1, libc::S_IFDIR))
    };
    let a = enter(&mut nodes, TOP, "a").unwrap();
    let b = enter(&mut nodes, a, "b").unwrap();
    assert_eq!(nodes.path(b).unwrap(), c"a/b".to_owned());
    nodes.forget(a, 1);
    assert_eq!(nodes.path(b).unwrap(), c"a/b".to_owned(), "a child keeps its parent");
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

/// Requests with likely and unlikely fields in any order.
#[test]
fn odd_requests_do_no_harm() {
    let outside = Scratch::new();
    let inside = outside.0.path().join("inside");
    fs::create_dir(&inside).unwrap();
    fs::write(outside.0.path().join("secret"), "s").unwrap();
    for name in ["a", "b"] {
        fs::create_dir_all(inside.join(name).join("a")).unwrap();
        fs::write(inside.join(name).join("c"), name).unwrap();
    }
    let mut device = Fs::new(Scratch::share(&inside));
    let mut guest = FakeGuest::new(2);
    let mut odd = Odd(4711);
    let (mut known, mut served) = (vec![TOP], 0);
    for _ in 0..20_000 {
        let top = [request(1, TOP, 2), b"a\0".to_vec()].concat();
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
