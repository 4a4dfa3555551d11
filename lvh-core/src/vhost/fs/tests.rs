use std::ffi::CString;
use std::fs;
use std::io::{self, Seek};
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::exports::FsExports;
use super::files::Cache;
use super::filesystem::Reply;
use super::handler::Fs;
use super::nodes::{Nodes, Place, TOP};
use super::share::{DirEntry, Entry, Share, State};
use super::wire::{Answer, IN_HEADER, Request};
use crate::property::check_reader;
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

fn find(share: &Share, parent: u64, name: &str) -> io::Result<u64> {
    let name = CString::new(name).unwrap();
    let entry = share.lookup(parent, &name)?;
    if entry.node == 0 { Err(io::Error::from_raw_os_error(libc::ENOENT)) } else { Ok(entry.node) }
}

fn code<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

fn list(share: &Share, id: u64) -> Vec<String> {
    let mut names = Vec::new();
    let mut add = |entry: &DirEntry<'_>, _: Option<&Entry>| {
        names.push(String::from_utf8(entry.name.to_vec()).unwrap());
        true
    };
    share.readdirplus(id, 0, &mut add).unwrap();
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
    assert_eq!(share.read_link(link).unwrap(), b"../secret");
    assert!(code(share.open(link, libc::O_RDONLY as u32)).is_some());
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
        let attributes = share.getattr(directory).unwrap();
        assert_eq!(attributes.mode, libc::S_IFDIR | 0o555);
    }
    assert_eq!(list(&share, TOP), ["a"]);
}

#[test]
fn a_read_only_tree_cannot_be_changed() {
    let scratch = Scratch::new();
    fs::write(scratch.0.path().join("f"), "x").unwrap();
    let share = scratch.read_only();
    let file = find(&share, TOP, "f").unwrap();
    for flags in [libc::O_RDWR, libc::O_WRONLY, libc::O_TRUNC] {
        assert_eq!(code(share.open(file, flags as u32)), Some(libc::EROFS));
    }
    // A Linux guest mounts it read-only and asks for none of these: setattr, symlink, mknod, mkdir, unlink, rmdir, rename, link,
    // write, setxattr, create, fallocate, rename2, copy_file_range.
    for opcode in [4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 35, 43, 45, 47] {
        let bytes = [request(opcode, file, 80), vec![0; 80]].concat();
        let served = share.serve(Request::parse(&bytes).unwrap(), 4096, &mut |_, _, _| unreachable!());
        assert_eq!(code(served), Some(libc::ENOSYS), "{opcode}");
    }
    assert_eq!(fs::read_dir(scratch.0.path()).unwrap().count(), 1);
}

#[test]
fn special_files_are_never_opened() {
    let scratch = Scratch::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, scratch.0.path().join("fifo"), rustix::fs::Mode::from_raw_mode(0o600))
        .unwrap();
    let share = scratch.read_only();
    let fifo = find(&share, TOP, "fifo").unwrap();
    assert_eq!(code(share.open(fifo, libc::O_RDONLY as u32)), Some(libc::EACCES));
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
        share.open(file, libc::O_RDONLY as u32).unwrap();
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
    code(share.open(id, libc::O_RDONLY as u32))
}

fn close(share: &Share, id: u64) {
    share.release(id);
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
    assert_eq!(share.getattr(file).unwrap().size, 5);
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
    assert_eq!(share.getattr(file).unwrap().size, 3);
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
    assert_eq!(share.read_link(link).unwrap(), b"two");
    let other = find(&share, TOP, "l").unwrap();
    assert_eq!(share.read_link(other).unwrap(), b"two");
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
    let mut bytes = Vec::with_capacity(IN_HEADER);
    bytes.extend(((IN_HEADER + len) as u32).to_le_bytes());
    bytes.extend(opcode.to_le_bytes());
    bytes.extend(77_u64.to_le_bytes());
    bytes.extend(nodeid.to_le_bytes());
    bytes.resize(IN_HEADER, 0);
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
    // Longer than any request of Linux: 2 MiB by overlapping descriptors, for an ioctl.
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

/// What the device answers to a request, after the header.
fn answered(guest: &mut FakeGuest, device: &mut Fs, opcode: u32, node: u64, body: &[u8]) -> Vec<u8> {
    assert_eq!(ask(guest, device, &[request(opcode, node, body.len()), body.to_vec()].concat()), Some(0), "{opcode}");
    let length = guest.last_used(1) as usize;
    let answer = guest.read(DATA + 0x10_0000, length);
    assert_eq!(answer[..4], (length as u32).to_le_bytes());
    assert_eq!(answer[8..16], 77_u64.to_le_bytes());
    answer[16..].to_vec()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().unwrap())
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().unwrap())
}

/// The offsets are those of Linux's `fuse.h`.
#[test]
fn answers_lie_in_memory_as_linux_reads_them() {
    let scratch = Scratch::new();
    fs::write(scratch.0.path().join("f"), "content").unwrap();
    let (mut device, mut guest) = (Fs::new(scratch.read_only()), FakeGuest::new(2));
    let mut ask = |opcode, node, body: &[u8]| answered(&mut guest, &mut device, opcode, node, body);
    let init = ask(26, 0, &[7_u32, 40, 65536, u32::MAX].map(u32::to_le_bytes).concat());
    assert_eq!((init.len(), word(&init, 0), word(&init, 8)), (64, 7, 65536));
    assert_eq!((word(&init, 12) & 1 << 22, word(&init, 28) as u16), (1 << 22, 256));
    let entry = ask(1, TOP, b"f\0");
    let (node, attributes) = (long(&entry, 0), &entry[40..]);
    assert_eq!((entry.len(), long(attributes, 8), word(attributes, 60) & libc::S_IFMT), (128, 7, libc::S_IFREG));
    assert_eq!(ask(3, node, &[0; 16])[16..], *attributes);
    assert_eq!(ask(1, TOP, b"none\0")[..8], [0; 8]);
    assert_eq!(ask(14, node, &[0; 8]).len(), 16);
    let part = |offset: u64, size: u32| [&[0; 8], &offset.to_le_bytes()[..], &size.to_le_bytes(), &[0; 20]].concat();
    assert_eq!(ask(15, node, &part(3, 100)), b"tent");
    assert_eq!(ask(15, node, &part(3, 2)), b"te");
    assert_eq!(ask(15, node, &part(7, 2)), b"");
    ask(27, TOP, &[0; 8]);
    let names = ask(28, TOP, &part(0, 4096));
    assert_eq!((names.len(), word(&names, 16)), (96, 1), "`.`, `..` and `f`, 32 bytes each");
    let entries = ask(44, TOP, &part(0, 4096));
    let places = [0, 1, 2].map(|number| entries[160 * number + 128 + 24]);
    let at = 160 * places.iter().position(|&first| first == b'f').unwrap();
    assert_eq!(
        (entries.len(), long(&entries, at), word(&entries, at + 128 + 20)),
        (480, node, u32::from(libc::DT_REG))
    );
    assert_eq!(ask(44, TOP, &part(0, 320)).len(), 320);
    assert_eq!(ask(17, TOP, &[]).len(), 80);
    let forget = [request(2, node, 8), u64::MAX.to_le_bytes().to_vec()].concat();
    guest.write(DATA, &forget);
    guest.offer(0, &[(DATA, forget.len() as u32, 0)]);
    guest.run(&mut device);
    assert_eq!((guest.used(0), guest.last_used(0)), (1, 0));
    assert_eq!(super::tests::ask(&mut guest, &mut device, &request(3, node, 0)), Some(-libc::ESTALE));
}

/// Requests of any kind, with what they answer at most.
#[test]
fn a_request_needs_no_more_memory_than_its_answer() {
    let scratch = Scratch::new();
    fs::write(scratch.0.path().join("a"), "x").unwrap();
    let share = scratch.read_only();
    let samples =
        [1, 2, 3, 5, 14, 15, 26, 27, 28, 42, 44].map(|opcode| [request(opcode, TOP, 4), b"a\0".repeat(20)].concat());
    check_reader(20_000, &samples.each_ref().map(Vec::as_slice), (200_000, 4), |bytes| {
        let Some(request) = Request::parse(bytes) else { return };
        let served = share.serve(request, usize::MAX, &mut |_, length, _| Ok(length));
        if let Ok(Reply::Answer(Answer(answer))) = served {
            assert!(answer.len() <= 64 << 10);
        }
    });
}
