//! Against repositories made here, which have what kernels' have: branches that move, tags, and people who work in trees.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Checkout, Checkouts, GitUrl, LocalWork};
use crate::{Events, Result};

/// A remote repository and a data directory.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(world.remote()).unwrap();
        world.git(&["init", "-q", "-b", "master"]);
        world.git(&["config", "uploadpack.allowReachableSHA1InWant", "true"]);
        world.commit("one");
        world
    }

    fn remote(&self) -> PathBuf {
        self.dir.path().join("remote")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn tree(&self, name: &str) -> PathBuf {
        self.data().join("kernels").join(name)
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.remote(), args)
    }

    /// Commits the file `version` with `text`, and returns the commit.
    fn commit(&self, text: &str) -> String {
        commit(&self.remote(), text)
    }

    fn checkouts(&self) -> Checkouts {
        Checkouts::new(&self.data())
    }

    fn url(&self, rest: &str) -> GitUrl {
        let text = format!("file://{}{rest}", self.remote().display());
        GitUrl::parse(&text, Path::new("/")).unwrap()
    }

    fn fetch(&self, name: &str, rest: &str, local: LocalWork) -> Result<Checkout> {
        self.checkouts().fetch(name, &self.url(rest), local, &Events::silent())
    }

    /// The text of `version` in the tree after a fetch of `rest`.
    fn fetched(&self, name: &str, rest: &str) -> String {
        let checkout = self.fetch(name, rest, LocalWork::Keep).unwrap_or_else(|error| panic!("{}", error.report()));
        assert_eq!((checkout.changes.as_str(), checkout.commit.len()), ("", 40), "{name}{rest}");
        self.version(name)
    }

    fn version(&self, name: &str) -> String {
        fs::read_to_string(self.tree(name).join("version")).unwrap()
    }

    fn refused(&self, name: &str, rest: &str) -> String {
        self.fetch(name, rest, LocalWork::Keep).expect_err("it should be refused").report()
    }
}

fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@t", "-C"]).arg(dir).args(args).env_remove("GIT_DIR");
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn commit(dir: &Path, text: &str) -> String {
    fs::write(dir.join("version"), text).unwrap();
    git(dir, &["add", "version"]);
    git(dir, &["commit", "-q", "-m", text]);
    git(dir, &["rev-parse", "HEAD"])
}

/// A full history and a shallow one: all that follows holds for both.
const KINDS: [&str; 2] = ["", "?depth=1"];

#[test]
fn branches_tags_and_commits() {
    let world = World::new();
    let first = world.git(&["rev-parse", "HEAD"]);
    world.git(&["tag", "-a", "-m", "x", "v1"]);
    world.git(&["branch", "net/main"]);
    world.commit("two");
    for (at, kind) in KINDS.iter().enumerate() {
        let check = |name: &str, reference: &str, expected: &str| {
            assert_eq!(
                world.fetched(&format!("{name}{at}"), &format!("{kind}{reference}")),
                expected,
                "{kind}{reference}"
            );
        };
        check("default", "", "two");
        check("branch", "#net/main", "one");
        check("tag", "#v1", "one");
        check("commit", &format!("#{first}"), "one");
        // Another reference of the same kernel.
        check("branch", "#master", "two");
        check("branch", "#v1", "one");
        let error = world.refused(&format!("none{at}"), &format!("{kind}#nosuch"));
        assert!(error.contains("has no branch or tag `nosuch`"), "{error}");
    }
    assert_eq!(world.fetched("short", &format!("#{}", &first[..10])), "one");
    let kernels = world.data().join("kernels");
    assert!(kernels.join("git/HEAD").is_file() && kernels.join("default1/.git").is_dir());
    assert_eq!(git(&world.tree("default0"), &["branch", "--show-current"]), "lvh-default0");
    assert_eq!(git(&world.tree("default1"), &["rev-list", "--count", "HEAD"]), "1");
}

#[test]
fn a_remote_without_master_has_a_default() {
    let world = World::new();
    world.git(&["branch", "-m", "master", "trunk"]);
    assert_eq!(world.fetched("k", ""), "one");
}

#[test]
fn a_directory_is_a_remote() {
    let world = World::new();
    let url = GitUrl::parse("remote", world.dir.path()).unwrap();
    world.checkouts().fetch("k", &url, LocalWork::Keep, &Events::silent()).unwrap();
    assert_eq!(world.version("k"), "one");
}

#[test]
fn trees_follow_their_remote() {
    let world = World::new();
    for (at, kind) in KINDS.iter().enumerate() {
        let name = format!("k{at}");
        world.commit(&format!("before {at}"));
        world.fetched(&name, kind);
        world.commit("later");
        assert_eq!(world.fetched(&name, kind), "later", "{kind}");
        // Force-pushed, and to an ancestor.
        world.git(&["reset", "-q", "--hard", "HEAD~1"]);
        world.commit("instead");
        assert_eq!(world.fetched(&name, kind), "instead", "{kind}");
        world.git(&["reset", "-q", "--hard", "HEAD~1"]);
        assert_eq!(world.fetched(&name, kind), format!("before {at}"), "{kind}");
    }
}

#[test]
fn local_commits_are_kept() {
    let world = World::new();
    for (at, kind) in KINDS.iter().enumerate() {
        let name = format!("k{at}");
        world.fetched(&name, kind);
        commit(&world.tree(&name), "mine");
        assert_eq!(world.fetched(&name, kind), "mine", "{kind}: nothing new, so it stays on top");
        world.commit(&format!("theirs {at}"));
        let error = world.refused(&name, kind);
        assert!(error.contains(&format!("the branch `lvh-{name}` has 1 commit of its own")), "{error}");
        let way_out = format!("`git -C {} reset --hard refs/lvh/{name}` throws them away", world.tree(&name).display());
        assert!(error.contains(&way_out), "{error}");
        assert_eq!(world.version(&name), "mine");
        world.fetch(&name, kind, LocalWork::Discard).unwrap();
        assert_eq!(world.version(&name), format!("theirs {at}"), "{kind}");
    }
}

#[test]
fn local_changes_are_kept() {
    let world = World::new();
    for (at, kind) in KINDS.iter().enumerate() {
        let name = format!("k{at}");
        world.fetched(&name, kind);
        let file = world.tree(&name).join("version");
        fs::write(&file, "edited").unwrap();
        let same = world.fetch(&name, kind, LocalWork::Keep).unwrap();
        assert!(!same.changes.is_empty(), "nothing new: edits stay, and are seen");
        world.commit(&format!("new {at}"));
        let error = world.refused(&name, kind);
        assert!(error.contains("that are not committed") && error.contains("version"), "{error}");
        assert_eq!(world.version(&name), "edited");
        world.fetch(&name, kind, LocalWork::Discard).unwrap();
        assert_eq!(world.version(&name), format!("new {at}"));
    }
}

#[test]
fn untracked_files_are_changes_but_results_of_builds_are_not() {
    let world = World::new();
    world.fetched("k", "");
    let state = || world.checkouts().existing("k", &Events::silent()).unwrap().unwrap().changes;
    for result in [".config", "linux-6.1-x86_64.tar", "tar-install/boot/vmlinuz"] {
        let file = world.tree("k").join(result);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }
    assert_eq!(state(), "");
    fs::write(world.tree("k").join("new.c"), "a").unwrap();
    let first = state();
    fs::write(world.tree("k").join("new.c"), "ab").unwrap();
    assert!(!first.is_empty() && state() != first);
}

#[test]
fn what_was_broken_off_is_taken_up() {
    let world = World::new();
    let git_dir = world.data().join("kernels/git");
    let own = world.data().join("kernels/.lvh/k");
    let check = |what: &str, break_it: &dyn Fn()| {
        break_it();
        assert_eq!(world.fetched("k", ""), "one", "{what}");
    };
    let mark = |name: &str| {
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join(name), "").unwrap();
    };
    check("a repository without content", &|| fs::create_dir_all(&git_dir).unwrap());
    check("the tree is gone", &|| fs::remove_dir_all(world.tree("k")).unwrap());
    check("a half tree", &|| {
        mark("creating");
        mark("fetching");
        fs::write(git_dir.join("worktrees/k/index.lock"), "").unwrap();
        fs::remove_file(world.tree("k").join("version")).unwrap();
    });
    check("locks of a git that was killed", &|| {
        mark("fetching");
        for lock in ["config.lock", "worktrees/k/index.lock", "refs/lvh/k.lock", "worktrees/k/HEAD.lock"] {
            fs::write(git_dir.join(lock), "").unwrap();
        }
    });
    check("a remote that is known, but was never fetched", &|| {
        world.checkouts().remove("k", LocalWork::Discard, &Events::silent()).unwrap();
        git(&git_dir, &["remote", "add", "k", "file:///nonexistent"]);
    });
    check("half an update", &|| {
        mark("updating");
        fs::write(world.tree("k").join("version"), "on").unwrap();
    });
    check("the data directory moved", &|| {
        let moved = world.dir.path().join("moved");
        fs::rename(world.data(), &moved).unwrap();
        fs::rename(moved, world.data()).unwrap();
        fs::write(world.tree("k").join(".git"), "gitdir: /elsewhere/git/worktrees/k\n").unwrap();
    });
    check("an empty directory", &|| {
        world.checkouts().remove("k", LocalWork::Discard, &Events::silent()).unwrap();
        fs::create_dir_all(world.tree("k")).unwrap();
    });
}

#[test]
fn a_data_directory_can_be_moved_and_copied() {
    let world = World::new();
    world.fetched("a", "");
    world.fetched("b", "");
    let at = |dir: &Path| Checkouts::new(dir);
    let state = |checkouts: &Checkouts, name: &str| {
        let open = checkouts.open(name, &Events::silent()).unwrap_or_else(|error| panic!("{}", error.report()));
        open.checkout(&Events::silent()).unwrap_or_else(|error| panic!("{}", error.report())).changes
    };
    let (old, new) = (world.data(), world.dir.path().join("new"));
    fs::rename(&old, &new).unwrap();
    assert_eq!(state(&at(&new), "a"), "", "as a build finds it");
    fs::rename(&new, &old).unwrap();
    fs::rename(&old, &new).unwrap();
    at(&new).fetch("a", &world.url(""), LocalWork::Keep, &Events::silent()).unwrap();
    commit(&new.join("kernels/b"), "git forgets no tree that it does not find");
    fs::rename(&new, &old).unwrap();
    assert_eq!(world.fetched("a", ""), "one");

    // Of a copy, the first is not touched.
    assert!(Command::new("cp").arg("-a").args([&old, &new]).status().unwrap().success());
    fs::write(new.join("kernels/a/version"), "edited").unwrap();
    assert_ne!(state(&at(&new), "a"), "");
    git(&new.join("kernels/a"), &["commit", "-q", "-a", "-m", "in the copy"]);
    assert_eq!((state(&world.checkouts(), "a").as_str(), world.version("a").as_str()), ("", "one"));
    assert_eq!(git(&world.tree("a"), &["rev-list", "--count", "HEAD"]), "1");
    let removed = at(&new).remove("b", LocalWork::Discard, &Events::silent()).unwrap();
    assert!(removed && !new.join("kernels/b").exists() && world.tree("b").exists());

    // A tree that people copied takes nothing from its original.
    assert!(Command::new("cp").arg("-a").args([world.tree("a"), world.tree("copy")]).status().unwrap().success());
    world.fetched("a", "");
    let known = git(&world.data().join("kernels/git"), &["worktree", "list", "--porcelain"]);
    assert!(known.contains("/kernels/a\n") && !known.contains("/kernels/copy\n"), "{known}");
}

#[test]
fn a_data_directory_need_not_have_a_name_in_utf8() {
    use std::os::unix::ffi::OsStrExt as _;
    let world = World::new();
    let data = world.dir.path().join(std::ffi::OsStr::from_bytes(b"d\xff"));
    let checkouts = Checkouts::new(&data);
    let fetched = checkouts.fetch("k", &world.url(""), LocalWork::Keep, &Events::silent());
    let fetched = fetched.unwrap_or_else(|error| panic!("{}", error.report()));
    assert_eq!(fs::read_to_string(fetched.dir.join("version")).unwrap(), "one");
    world.commit("two");
    checkouts.fetch("k", &world.url(""), LocalWork::Keep, &Events::silent()).unwrap();
    assert_eq!(fs::read_to_string(data.join("kernels/k/version")).unwrap(), "two");
}

#[test]
fn what_no_fetch_completed_is_not_whole() {
    let world = World::new();
    let is_whole = |name: &str| world.checkouts().is_whole(name).unwrap();
    for (at, kind) in KINDS.iter().enumerate() {
        let name = format!("k{at}");
        assert!(!is_whole(&name));
        world.refused(&name, &format!("{kind}#nosuch"));
        assert!(!is_whole(&name), "{kind}");
        world.fetched(&name, kind);
        assert!(is_whole(&name), "{kind}");
        for mark in ["creating", "updating"] {
            fs::write(world.data().join("kernels/.lvh").join(&name).join(mark), "").unwrap();
            assert!(!is_whole(&name), "{kind} {mark}");
            world.fetched(&name, kind);
            assert!(is_whole(&name), "{kind} {mark}");
        }
    }
    // People's own, perhaps of no git.
    fs::create_dir(world.tree("theirs")).unwrap();
    assert!(is_whole("theirs"));
}

#[test]
fn commits_survive_their_directory() {
    let world = World::new();
    world.fetched("k", "");
    commit(&world.tree("k"), "mine");
    fs::remove_dir_all(world.tree("k")).unwrap();
    let error = world.refused("k", "");
    assert!(error.contains("has 1 commit of its own"), "{error}");
}

#[test]
fn gits_own_words_are_told() {
    let world = World::new();
    let url = GitUrl::parse("file:///nonexistent/linux.git", Path::new("/")).unwrap();
    let fetch = || world.checkouts().fetch("k", &url, LocalWork::Keep, &Events::silent());
    let error = fetch().unwrap_err().report();
    assert!(error.contains("does not appear to be a git repository"), "{error}");
    assert!(fetch().is_err(), "and again, with the same words");
    assert_eq!(world.fetched("k", ""), "one", "a better URL makes up for it");
}

#[test]
fn removal_stays_in_the_directory_and_keeps_local_work() {
    let world = World::new();
    let remove = |name: &str, local| world.checkouts().remove(name, local, &Events::silent());
    for (at, kind) in KINDS.iter().enumerate() {
        let name = format!("k{at}");
        world.fetched(&name, kind);
        fs::write(world.tree(&name).join("new.c"), "").unwrap();
        let error = remove(&name, LocalWork::Keep).unwrap_err().report();
        assert!(error.contains("not committed") && error.contains("new.c"), "{error}");
        fs::remove_file(world.tree(&name).join("new.c")).unwrap();
        fs::write(world.tree(&name).join(".config"), "").unwrap();
        assert!(remove(&name, LocalWork::Keep).unwrap(), "{kind}");
        assert!(!world.tree(&name).exists());
        assert!(!remove(&name, LocalWork::Keep).unwrap(), "it is gone already");
        assert_eq!(world.fetched(&name, kind), "one", "and can come back");
    }
    git(&world.tree("k0"), &["checkout", "-q", "-b", "topic"]);
    commit(&world.tree("k0"), "mine");
    assert!(remove("k0", LocalWork::Keep).is_err());
    assert!(remove("k0", LocalWork::Discard).unwrap());

    let images = world.data().join("images");
    fs::create_dir_all(&images).unwrap();
    for name in ["../images", "..", ".", "git", ".lvh", ""] {
        assert!(remove(name, LocalWork::Discard).is_err(), "{name}");
    }
    fs::create_dir_all(world.tree("foreign")).unwrap();
    fs::write(world.tree("foreign").join("thesis"), "").unwrap();
    assert!(remove("foreign", LocalWork::Keep).unwrap_err().report().contains("is no git tree"));
    assert!(world.refused("foreign", "").contains("is no git tree"));
    std::os::unix::fs::symlink(&images, world.tree("link")).unwrap();
    assert!(remove("link", LocalWork::Discard).unwrap());
    assert!(images.is_dir());
}

#[test]
fn two_processes_at_once_do_it_once_each() {
    let world = World::new();
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..4)
            .map(|at| {
                scope.spawn({
                    let world = &world;
                    move || world.fetched(&format!("k{}", at % 2), "")
                })
            })
            .collect();
        all.into_iter().for_each(|one| assert_eq!(one.join().unwrap(), "one"));
    });
}
