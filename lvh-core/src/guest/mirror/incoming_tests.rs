use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::super::listing::list;
use super::*;
use crate::guest::wire::Bytes;

const OWNER: Owner = Owner { uid: 0, gid: 0, mode: 0o640 };
/// 2001-09-09.
const MODIFIED: u64 = 1_000_000_000_500_000_000;

/// A directory in a place of its own, that a guest knows.
struct Host {
    outside: TempDir,
    known: Listing,
}

impl Host {
    /// With these files, which the guest was told, or which it sees.
    fn with(files: &[(&str, &str)]) -> Self {
        let outside = tempfile::tempdir().unwrap();
        let top = outside.path().join("in");
        fs::create_dir(&top).unwrap();
        for (name, content) in files {
            fs::create_dir_all(top.join(name).parent().unwrap()).unwrap();
            fs::write(top.join(name), content).unwrap();
        }
        let known = list(&top, 100).unwrap().unwrap();
        Self { outside, known }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.outside.path().join("in").join(name)
    }

    /// What the guest sends arrives; gives the problems.
    fn takes(&mut self, changes: Vec<(&str, Change)>) -> Vec<String> {
        let mut incoming = Incoming::into(&self.outside.path().join("in"), &mut self.known, None).unwrap();
        for (path, change) in changes {
            incoming.take(ToHost::Change { id: 1, path: Bytes(path.into()), change }).unwrap();
        }
        incoming.finish()
    }

    /// All names, with what files hold and links lead to.
    fn content(&self) -> Vec<String> {
        let listing = list(&self.at(""), 100).unwrap().unwrap();
        let show = |(path, stamp): (&PathBuf, &Stamp)| match stamp.kind {
            Kind::Directory => format!("{}/", path.display()),
            Kind::File => format!("{}={}", path.display(), fs::read_to_string(self.at("").join(path)).unwrap()),
            Kind::Link => format!("{}->{}", path.display(), fs::read_link(self.at("").join(path)).unwrap().display()),
            Kind::Special => format!("{}?", path.display()),
        };
        listing.iter().map(show).collect()
    }
}

fn file<'a>(path: &'a str, data: &str) -> Vec<(&'a str, Change)> {
    vec![
        (path, Change::File { size: data.len() as u64 }),
        (path, Change::Data { offset: 0, data: Bytes(data.into()) }),
        (path, Change::Complete { owner: OWNER, modified: MODIFIED, capabilities: Bytes::default() }),
    ]
}

fn directory(path: &str, mode: u32) -> Vec<(&str, Change)> {
    vec![(path, Change::Directory { owner: Owner { mode, ..OWNER }, modified: MODIFIED })]
}

fn link<'a>(path: &'a str, target: &str) -> Vec<(&'a str, Change)> {
    vec![(path, Change::Link { target: Bytes(target.into()) })]
}

fn removed(path: &str) -> Vec<(&str, Change)> {
    vec![(path, Change::Removed {})]
}

#[track_caller]
fn check(before: &[(&str, &str)], changes: &[Vec<(&str, Change)>], after: &[&str]) {
    let mut host = Host::with(before);
    assert_eq!(host.takes(changes.concat()), Vec::<String>::new());
    assert_eq!(host.content(), after);
    assert_eq!(fs::read_dir(host.outside.path()).unwrap().count(), 1);
    let now = list(&host.at(""), 100).unwrap().unwrap();
    assert_eq!(host.known, now, "what came home is not sent back");
}

#[test]
fn what_the_guest_did_is_done() {
    check(&[], &[file("a", "1")], &["a=1"]);
    check(&[("a", "1")], &[file("a", "two")], &["a=two"]);
    check(&[], &[directory("d", 0o755), file("d/a", "1")], &["d/", "d/a=1"]);
    check(&[("d/e/a", "1"), ("b", "")], &[removed("d/e/a"), removed("d/e"), removed("d")], &["b="]);
    check(&[("d/e/a", "1"), ("d/b", "")], &[removed("d")], &[]);
    check(&[("a", "1")], &[file("b", "1"), removed("a")], &["b=1"]);
    check(&[("a", "1")], &[directory("a", 0o755), file("a/b", "2")], &["a/", "a/b=2"]);
    check(&[("a/b", "1")], &[removed("a/b"), removed("a"), file("a", "2")], &["a=2"]);
    check(&[("a", "1")], &[link("a", "/etc/passwd"), link("b", "x")], &["a->/etc/passwd", "b->x"]);
    check(&[("a", "1")], &[link("a", "/etc/passwd"), file("a", "2")], &["a=2"]);
    check(&[], &[removed("a"), removed("d/a")], &[]);
}

#[test]
fn files_stay_below_their_directory() {
    let mut host = Host::with(&[]);
    let outside = host.outside.path().join("secret");
    fs::write(&outside, "s").unwrap();
    symlink("..", host.at("up")).unwrap();
    symlink(&outside, host.at("link")).unwrap();
    assert_eq!(host.takes(link("theirs", host.outside.path().to_str().unwrap())), Vec::<String>::new());
    let long = "d/".repeat(3000) + "x";
    for path in ["", "/etc/x", "../x", "a/../../x", "up/secret", "up/x", "theirs/x", ".", "..", "a\0b", long.as_str()] {
        for changes in [file(path, "1"), directory(path, 0o755), link(path, "/"), removed(path)] {
            assert_eq!(host.takes(changes.clone()).len(), 1, "{path}: {changes:?}");
        }
    }
    // A link's own name is replaced, not what it leads to.
    assert_eq!(host.takes(file("link", "1")).len(), 1, "it was not the guest's");
    assert_eq!(fs::read_to_string(&outside).unwrap(), "s");
    assert_eq!(fs::read_dir(host.outside.path()).unwrap().count(), 2);
}

#[test]
fn a_file_is_there_when_all_of_it_is() {
    let mut host = Host::with(&[("a", "old")]);
    let mut cut = file("a", "new");
    cut.pop();
    host.takes(cut);
    assert_eq!(host.content(), ["a=old"]);
    let begun = |data: &str| vec![("a", Change::Data { offset: 2, data: Bytes(data.into()) })];
    // More than was announced, and parts of nothing.
    let problems = host.takes([vec![("a", Change::File { size: 4 })], begun("xyz"), file("b", "2")].concat());
    assert_eq!(problems.len(), 1, "{problems:?}");
    host.takes(
        [begun("x"), vec![("a", Change::Complete { owner: OWNER, modified: 0, capabilities: Bytes::default() })]]
            .concat(),
    );
    assert_eq!(host.content(), ["a=old", "b=2"]);
}

#[test]
fn holes_modes_and_times_come_home() {
    let mut host = Host::with(&[]);
    let owner = Owner { uid: 77, gid: 77, mode: 0o6751 };
    host.takes(vec![
        ("f", Change::File { size: 64 << 20 }),
        ("f", Change::Data { offset: 32 << 20, data: Bytes(b"x".to_vec()) }),
        ("f", Change::Complete { owner, modified: MODIFIED, capabilities: Bytes::default() }),
    ]);
    let metadata = fs::metadata(host.at("f")).unwrap();
    assert_eq!((metadata.len(), metadata.mode() & 0o7777), (64 << 20, 0o751), "no set-user-id");
    assert!(metadata.blocks() < 1000, "{}", metadata.blocks());
    assert_ne!(metadata.uid(), 77);
    let modified = SystemTime::UNIX_EPOCH + Duration::from_nanos(MODIFIED);
    assert_eq!(metadata.modified().unwrap(), modified);
    host.takes([directory("d", 0o2000), file("d/f", ""), directory("d", 0o3050)].concat());
    let metadata = fs::metadata(host.at("d")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.modified().unwrap()), (0o1750, modified), "its owner can enter it");
}

#[test]
fn what_the_host_changed_meanwhile_is_not_lost_without_a_word() {
    let mut host = Host::with(&[("gone", "1"), ("both", "1"), ("same", "1"), ("d/old", "1")]);
    for name in ["gone", "both", "d/new"] {
        fs::write(host.at(name), "host's").unwrap();
    }
    fs::write(host.at("same"), "guest's").unwrap();
    let problems =
        host.takes([removed("gone"), file("both", "guest's"), file("same", "guest's"), removed("d")].concat());
    assert_eq!(host.content(), ["both=guest's", "d/", "d/new=host's", "gone=host's", "same=guest's"]);
    let expected =
        ["`gone` was changed on the host, and stays", "`both` was changed on the host too", "`d/new` was changed"];
    assert_eq!(problems.len(), expected.len(), "{problems:?}");
    problems.iter().zip(expected).for_each(|(problem, expected)| assert!(problem.starts_with(expected), "{problem}"));
}

#[test]
fn what_the_guest_sees_can_be_removed_though_it_was_never_told() {
    let mut host = Host::with(&[("d/old", "1"), ("f", "1")]);
    host.known.clear();
    let since = fs::metadata(host.at("f")).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    fs::write(host.at("d/new"), "1").unwrap();
    let since = Some((since.ctime(), since.ctime_nsec() + 5_000_000));
    let mut incoming = Incoming::into(&host.at(""), &mut host.known, since).unwrap();
    for path in ["d", "f"] {
        incoming.take(ToHost::Change { id: 1, path: Bytes(path.into()), change: Change::Removed {} }).unwrap();
    }
    assert_eq!(incoming.finish().len(), 1);
    assert_eq!(host.content(), ["d/", "d/new=1"]);
}

#[test]
fn a_flood_of_problems_is_cut() {
    let mut host = Host::with(&[]);
    assert_eq!(host.takes(vec![("..", Change::Removed {}); 1000]).last().unwrap(), "and 980 more");
}

#[test]
fn a_directory_that_only_others_may_write_keeps_its_owner() {
    let mut host = Host::with(&[("d/f", "1")]);
    fs::set_permissions(host.at("d"), fs::Permissions::from_mode(0o555)).unwrap();
    host.takes(directory("d", 0o555));
    assert_eq!(fs::metadata(host.at("d")).unwrap().mode() & 0o777, 0o755);
}
