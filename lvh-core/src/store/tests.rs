use std::env;
use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;

/// A store of its own for one test; removed with it.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn store(&self) -> Store {
        Store::open(self.0.path()).unwrap()
    }

    fn staged(&self) -> usize {
        fs::read_dir(self.0.path().join("store/tmp")).unwrap().flatten().filter(|e| e.path().is_dir()).count()
    }
}

fn write_slowly(staging: &Staging) -> Result<()> {
    for part in ["one", "two", "three"] {
        fs::write(staging.entry().join(part), part).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn assert_complete(entry: &Entry) {
    for part in ["one", "two", "three"] {
        assert_eq!(fs::read_to_string(entry.path().join(part)).unwrap(), part);
    }
}

#[test]
fn many_threads_make_it_once() {
    let scratch = Scratch::new();
    let key = Key::of(["it"]);
    let made = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let make = |staging: &Staging| {
                    made.fetch_add(1, Ordering::Relaxed);
                    write_slowly(staging)
                };
                // Each its own `Store`, as in processes of their own.
                assert_complete(&scratch.store().populate("kind", &key, &|| {}, make).unwrap());
            });
        }
    });
    assert_eq!(made.into_inner(), 1);
    assert_eq!(scratch.staged(), 0);
}

#[test]
fn somebody_without_our_locks_may_be_first() {
    let scratch = Scratch::new();
    let key = Key::of(["it"]);
    let theirs = scratch.0.path().join("store/kind").join(key.as_str());
    let make = |staging: &Staging| {
        fs::create_dir_all(&theirs).unwrap();
        ["one", "two", "three"].iter().for_each(|part| fs::write(theirs.join(part), part).unwrap());
        write_slowly(staging)
    };
    assert_complete(&scratch.store().populate("kind", &key, &|| {}, make).unwrap());
    assert_eq!(scratch.staged(), 0);
}

#[test]
fn a_failure_leaves_nothing_and_the_next_one_succeeds() {
    let scratch = Scratch::new();
    let (store, key) = (scratch.store(), Key::of(["it"]));
    let fail = |staging: &Staging| {
        fs::write(staging.entry().join("one"), "one").unwrap();
        Err(Error::new(ErrorKind::Artifact, "no luck"))
    };
    let error = store.populate("kind", &key, &|| {}, fail).unwrap_err();
    assert_eq!(error.to_string(), "no luck");
    assert!(store.get("kind", &key, &|| {}).unwrap().is_none());
    assert_eq!(scratch.staged(), 0);
    assert_complete(&store.populate("kind", &key, &|| {}, write_slowly).unwrap());
}

#[test]
fn resolutions_are_remembered_until_forgotten() {
    let scratch = Scratch::new();
    let (store, question) = (scratch.store(), Key::of(["trixie"]));
    assert_eq!(store.recall(&question), None);
    store.remember(&question, &Key::of(["6.12.1"])).unwrap();
    store.remember(&question, &Key::of(["6.12.2"])).unwrap();
    assert_eq!(store.recall(&question), Some(Key::of(["6.12.2"])));
    assert!(store.forget(&question).unwrap());
    assert!(!store.forget(&question).unwrap());
    assert_eq!(store.recall(&question), None);
}

const CHILD_ROOT: &str = "LVH_TEST_STORE_CHILD";

/// What the process does that is killed.
fn begin_and_never_finish(root: OsString) {
    let hang = |staging: &Staging| {
        fs::write(staging.entry().join("half"), "").unwrap();
        thread::sleep(Duration::from_secs(60));
        panic!("nobody killed this process");
    };
    let _ = Store::open(root).unwrap().populate("kind", &Key::of(["it"]), &|| {}, hang);
}

#[test]
fn a_killed_process_blocks_nobody() {
    if let Some(root) = env::var_os(CHILD_ROOT) {
        return begin_and_never_finish(root);
    }
    let scratch = Scratch::new();
    let store = scratch.store();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "store::entry::tests::a_killed_process_blocks_nobody"])
        .env(CHILD_ROOT, scratch.0.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while scratch.staged() == 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "the child did not start its work");
        thread::sleep(Duration::from_millis(5));
    }
    // A live one is not swept by somebody else's work.
    store.populate("kind", &Key::of(["other"]), &|| {}, write_slowly).unwrap();
    assert_eq!(scratch.staged(), 1);

    child.kill().unwrap();
    child.wait().unwrap();
    assert_complete(&store.populate("kind", &Key::of(["it"]), &|| {}, write_slowly).unwrap());
    assert_eq!(scratch.staged(), 0, "the leftovers of the killed process were not swept");
}

#[test]
fn who_waits_is_told_once() {
    let scratch = Scratch::new();
    let (store, key) = (scratch.store(), Key::of(["it"]));
    let told = AtomicU32::new(0);
    let lock = store.lock("turn", &|| {}).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let waiting = || {
                told.fetch_add(1, Ordering::Relaxed);
            };
            store.lock("turn", &waiting).map(drop)
        });
        let start = Instant::now();
        while told.load(Ordering::Relaxed) == 0 {
            assert!(start.elapsed() < Duration::from_secs(20), "the waiter was not told");
            thread::sleep(Duration::from_millis(5));
        }
        // It goes on to wait, and looks several times.
        thread::sleep(Duration::from_millis(300));
        drop(lock);
        waiter.join().unwrap().unwrap();
    });
    assert_eq!(told.into_inner(), 1);
    assert!(store.get("kind", &key, &|| {}).unwrap().is_none());
}

/// How a file, or the whole entry, comes to harm.
#[test]
fn damage_is_told_once_and_mended() {
    type Harm = fn(&Path);
    let harms: &[(&str, Harm)] = &[
        ("`two` is missing", |entry| fs::remove_file(entry.join("two")).unwrap()),
        ("`two` has changed", |entry| fs::write(entry.join("two"), "").unwrap()),
        ("`two` has changed", |entry| fs::write(entry.join("two"), "tw").unwrap()),
        ("`two` has changed", |entry| {
            fs::write(entry.join("two"), "xxx").unwrap();
            let long_ago = std::time::SystemTime::UNIX_EPOCH;
            File::options().write(true).open(entry.join("two")).unwrap().set_modified(long_ago).unwrap();
        }),
        ("`two` has changed", |entry| {
            fs::remove_file(entry.join("two")).unwrap();
            fs::create_dir(entry.join("two")).unwrap();
        }),
        ("`.manifest` makes no sense", |entry| fs::write(entry.join(".manifest"), "rubbish\n").unwrap()),
        ("`.manifest` cannot be read", |entry| fs::write(entry.join(".manifest"), "3 1").unwrap()),
        ("it is no directory", |entry| {
            fs::remove_dir_all(entry).unwrap();
            fs::write(entry, "").unwrap();
        }),
    ];
    for (expected, harm) in harms {
        let (scratch, key) = (Scratch::new(), Key::of(["it"]));
        let store = scratch.store();
        let populate = || store.populate("kind", &key, &|| {}, write_slowly).unwrap();
        let path = populate().path().to_owned();
        assert!(store.take_notes().is_empty());
        harm(&path);
        assert_complete(&populate());
        let told = format!("`{}` in the data directory is damaged ({expected}); it is made again", path.display());
        assert_eq!(store.take_notes(), [told]);
        // As a snapshot is looked for, and taken.
        harm(&path);
        assert!(store.peek("kind", &key).unwrap().is_none(), "{expected}");
        assert_eq!(store.take_notes().len(), 1, "{expected}");
        let unfinished = store.begin("kind", &key).unwrap().expect("nothing is in its place");
        fs::write(unfinished.dir().join("one"), "one").unwrap();
        unfinished.publish().unwrap();
        assert!(store.peek("kind", &key).unwrap().is_some() && store.take_notes().is_empty());
    }
}

/// The modules of a kernel are thousands, and not looked at; entries of earlier versions tell nothing of themselves.
#[test]
fn what_is_not_written_down_is_taken_as_it_is() {
    let (scratch, key) = (Scratch::new(), Key::of(["it"]));
    let store = scratch.store();
    let populate = || {
        store.populate("kind", &key, &|| {}, |staging| {
            fs::create_dir_all(staging.entry().join("lib/modules/6.1/kernel/fs")).unwrap();
            fs::write(staging.entry().join("lib/modules/6.1/kernel/fs/a.ko"), "a").unwrap();
            fs::write(staging.entry().join("lib/modules/6.1/modules.dep"), "").unwrap();
            Ok(())
        })
    };
    let path = populate().unwrap().path().to_owned();
    let manifest = fs::read_to_string(path.join(".manifest")).unwrap();
    assert!(manifest.ends_with(" lib/modules/6.1/modules.dep\n") && manifest.lines().count() == 1, "{manifest}");
    fs::remove_file(path.join(".manifest")).unwrap();
    fs::remove_file(path.join("lib/modules/6.1/modules.dep")).unwrap();
    populate().unwrap();
    assert!(!path.join("lib/modules/6.1/modules.dep").exists() && store.take_notes().is_empty());
}

#[test]
fn a_damaged_answer_is_asked_for_again() {
    let (scratch, question, answer) = (Scratch::new(), Key::of(["question"]), Key::of(["answer"]));
    let store = scratch.store();
    let file = scratch.0.path().join("store/resolved").join(question.as_str());
    assert_eq!(store.recall(&question), None);
    assert!(store.take_notes().is_empty());
    let check = || {
        assert_eq!(store.recall(&question), None);
        assert_eq!(store.take_notes().len(), 1);
        store.remember(&question, &answer).unwrap();
        assert_eq!(store.recall(&question).as_ref(), Some(&answer));
    };
    for text in ["", "x\n", &answer.as_str()[..60]] {
        fs::write(&file, text).unwrap();
        check();
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    check();
}
