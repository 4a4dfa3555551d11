use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;

/// A store of its own for one test; removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let dir = env::temp_dir().join(format!("lvh-store-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Self(dir)
    }

    fn store(&self) -> Store {
        Store::open(&self.0).unwrap()
    }

    fn staged(&self) -> usize {
        fs::read_dir(self.0.join("store/tmp")).unwrap().flatten().filter(|e| e.path().is_dir()).count()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
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
    let scratch = Scratch::new("threads");
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
fn a_failure_leaves_nothing_and_the_next_one_succeeds() {
    let scratch = Scratch::new("failure");
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
    let scratch = Scratch::new("resolutions");
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

/// Not a test by itself: the body of the process that `a_killed_process_blocks_nobody` kills.
#[test]
fn child_that_never_finishes() {
    let Some(root) = env::var_os(CHILD_ROOT) else { return };
    let hang = |staging: &Staging| {
        fs::write(staging.entry().join("half"), "").unwrap();
        thread::sleep(Duration::from_secs(60));
        Ok(())
    };
    let _ = Store::open(root).unwrap().populate("kind", &Key::of(["it"]), &|| {}, hang);
}

#[test]
fn a_killed_process_blocks_nobody() {
    let scratch = Scratch::new("killed");
    let store = scratch.store();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "store::entry::tests::child_that_never_finishes"])
        .env(CHILD_ROOT, &scratch.0)
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
    let scratch = Scratch::new("waiting");
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
        thread::sleep(Duration::from_millis(600));
        drop(lock);
        waiter.join().unwrap().unwrap();
    });
    assert_eq!(told.into_inner(), 1);
    assert!(store.get("kind", &key, &|| {}).unwrap().is_none());
}
