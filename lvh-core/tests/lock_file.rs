//! `lvh.lock`: names stand for the same kernels on every machine.

mod quick;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use lvh_core::config::Config;
use lvh_core::kernel::{resolve_blocking, update_blocking};
use lvh_core::{Error, Event, Events, Kernel};
use quick::write_source;

/// A project, of which there is a copy on each machine.
struct World {
    dir: tempfile::TempDir,
    table: String,
}

/// How a machine asks.
#[derive(Default, Clone, Copy)]
struct How {
    offline: bool,
    locked: bool,
    update: bool,
}

const PLAIN: How = How { offline: false, locked: false, update: false };
const LOCKED: How = How { locked: true, ..PLAIN };
const OFFLINE: How = How { offline: true, ..PLAIN };
const UPDATE: How = How { update: true, ..PLAIN };

impl World {
    fn new(table: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let table = table(dir.path());
        fs::create_dir(dir.path().join("project")).unwrap();
        let world = Self { dir, table };
        fs::write(world.path("project/lvh.toml"), &world.table).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self, machine: &str, how: How) -> Config {
        let mut config = Config::load(&self.path("project/lvh.toml")).unwrap();
        (config.offline, config.locked) = (how.offline, how.locked);
        config.data_dir = Some(self.path(machine));
        config
    }

    /// The kernel `k` on a machine, which has a data directory of its own, and what was told meanwhile.
    fn ask(&self, machine: &str, how: How) -> (Result<Kernel, Error>, String) {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = told.clone();
        let events = Events::new(move |event| match event {
            Event::Step { step, .. } => sink.lock().unwrap().push(step),
            Event::Note(note) => sink.lock().unwrap().push(note),
            _ => {}
        });
        let config = self.config(machine, how);
        let (store, source) = (config.store().unwrap(), config.kernel("k").unwrap());
        let ask = if how.update { update_blocking } else { resolve_blocking };
        let result = ask("k", &source, &store, &events);
        let told = told.lock().unwrap().join("; ");
        (result, told)
    }

    #[track_caller]
    fn taken(&self, machine: &str, how: How) -> Kernel {
        self.ask(machine, how).0.unwrap_or_else(|error| panic!("{}", error.report()))
    }

    #[track_caller]
    fn refused(&self, machine: &str, how: How, words: &[&str]) {
        let report =
            self.ask(machine, how).0.unwrap_err().report().replace(&self.dir.path().display().to_string(), "D");
        words.iter().for_each(|word| assert!(report.contains(word), "{word}: {report}"));
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.path("project/lvh.lock")).unwrap_or_default()
    }
}

fn make_archive(dir: &Path, version: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/make-archive.sh");
    let made = Command::new("sh").arg(script).arg(dir).args(["+10 days", version]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn a_debian_kernel_stays_where_its_suite_moves_on() {
    let world = World::new(|dir| {
        make_archive(&dir.join("archive"), "1.2.3");
        let (mirror, keyring) = (dir.join("archive"), dir.join("archive/keyring.gpg"));
        format!(
            "[kernels.k]\ndeb = 'linux-image-amd64'\nsuite = 'stable'\nmirror = 'file://{}'\nkeyring = '{}'\n",
            mirror.display(),
            keyring.display()
        )
    });
    world.refused("mine", LOCKED, &["kernel `k` is locked", "it is not in `D/project/lvh.lock`", "`lvh update k`"]);
    let first = world.taken("mine", PLAIN);
    assert_eq!(first.release.as_str(), "1.2.3-amd64");
    let lock = world.lock();
    for words in [
        "name = \"k\"\narch = \"amd64\"\nsource = \"deb linux-image-amd64 stable\"\n",
        "linux-image-1.2.3-amd64 1.2.3-1 sha256:",
    ] {
        assert!(lock.contains(words), "{lock}");
    }

    make_archive(&world.path("archive"), "1.2.4");
    let (theirs, told) = world.ask("theirs", LOCKED);
    assert_eq!(theirs.unwrap().key, first.key, "{told}");
    assert!(!told.contains("package index"), "{told}");
    assert_eq!(world.taken("theirs", OFFLINE).key, first.key);
    assert_eq!(world.taken("theirs", How { update: true, ..LOCKED }).key, first.key, "it is only fetched");
    assert_eq!(world.lock(), lock);
    world.refused(
        "other",
        OFFLINE,
        &["`linux-image-amd64` of `stable` is not in the data directory, and lvh is offline"],
    );

    assert_eq!(world.taken("theirs", UPDATE).release.as_str(), "1.2.4-amd64");
    assert!(world.lock().contains("linux-image-1.2.4-amd64 1.2.4-1"), "{}", world.lock());
    assert_eq!(world.taken("mine", PLAIN).release.as_str(), "1.2.4-amd64", "the colleague's new file counts");

    // Archives drop what is old, and who changes lvh.toml means something else.
    fs::write(world.path("project/lvh.lock"), &lock).unwrap();
    fs::remove_file(world.path("archive/linux-image-amd64_1.2.3-1_amd64.deb")).unwrap();
    world.refused("other", PLAIN, &["`linux-image-amd64 1.2.3-1`, which `lvh.lock` names", "snapshot.debian.org"]);
    fs::write(world.path("project/lvh.lock"), lock.replace("stable", "sid")).unwrap();
    world.refused(
        "other",
        LOCKED,
        &["has it from `deb linux-image-amd64 sid`, but it comes from `deb linux-image-amd64 stable`"],
    );
    fs::write(world.path("project/lvh.lock"), "version = 7").unwrap();
    world.refused("mine", PLAIN, &["was written by a later lvh"]);
}

/// A data directory of an earlier lvh does not say what its kernels are made of.
#[test]
fn what_is_there_already_is_pinned_too() {
    let world = World::new(|dir| {
        make_archive(&dir.join("archive"), "1.2.3");
        let archive = dir.join("archive").display().to_string();
        format!(
            "[kernels.k]\ndeb = 'linux-image-amd64'\nsuite = 'stable'\nmirror = 'file://{archive}'\nkeyring = '{archive}/keyring.gpg'\n"
        )
    });
    let kernel = world.taken("mine", PLAIN);
    let lock = world.lock();
    fs::remove_file(world.path("project/lvh.lock")).unwrap();
    let (again, told) = world.ask("mine", PLAIN);
    assert_eq!((again.unwrap().key, told.as_str(), world.lock()), (kernel.key.clone(), "", lock.clone()));

    let packages = kernel.image.with_file_name("packages");
    let manifest = kernel.image.with_file_name(".manifest");
    let without: String = fs::read_to_string(&manifest)
        .unwrap()
        .lines()
        .filter(|line| !line.ends_with(" packages"))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(manifest, without).unwrap();
    fs::remove_file(&packages).unwrap();
    fs::remove_file(world.path("project/lvh.lock")).unwrap();
    assert_eq!((world.taken("mine", OFFLINE).key, world.lock().as_str()), (kernel.key.clone(), ""));
    let (again, told) = world.ask("mine", PLAIN);
    assert_eq!((again.unwrap().key, world.lock()), (kernel.key, lock));
    assert!(told.contains("package index") && !told.contains("unpacking"), "{told}");
    assert!(packages.exists());
    // Where it cannot be written, the kernel is there all the same.
    fs::remove_file(world.path("project/lvh.lock")).unwrap();
    fs::create_dir(world.path("project/.lvh.lock.new")).unwrap();
    let (again, told) = world.ask("mine", PLAIN);
    assert!(again.is_ok() && told.contains("kernel `k` is not pinned: failed to write"), "{told}");
}

fn git(dir: &Path, args: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=t", "-c", "user.email=t@t", "-C"]).arg(dir).args(args);
    let output = git.env_remove("GIT_DIR").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn commit(source: &Path, version: &str) -> String {
    fs::write(source.join("version"), version).unwrap();
    git(source, &["add", "-A"]);
    git(source, &["commit", "-q", "-m", version]);
    git(source, &["rev-parse", "HEAD"])
}

#[test]
fn a_branch_stays_where_it_was() {
    let world = World::new(|dir| {
        let source = dir.join("source");
        write_source(&source);
        git(&source, &["init", "-q", "-b", "master"]);
        format!("[kernels.k]\ngit = 'file://{}'\n", source.display())
    });
    let source = world.path("source");
    let version = |kernel: &Kernel| fs::read_to_string(&kernel.image).unwrap().lines().next().unwrap().to_owned();
    let one = commit(&source, "one\n");
    world.refused("mine", LOCKED, &["kernel `k` is locked"]);
    assert_eq!(version(&world.taken("mine", PLAIN)), "one");
    assert!(world.lock().contains(&format!("resolved = [\n    \"commit {one}\",\n]")), "{}", world.lock());

    let two = commit(&source, "two\n");
    let (theirs, told) = world.ask("theirs", LOCKED);
    let theirs = theirs.unwrap_or_else(|error| panic!("{}", error.report()));
    assert!(version(&theirs) == "one" && theirs.identity.contains(&one[..12]), "{} {told}", theirs.identity);
    let (again, told) = world.ask("mine", PLAIN);
    assert_eq!((version(&again.unwrap()).as_str(), told.as_str()), ("one", ""), "nothing is done for it");
    world.taken("mine", OFFLINE);
    world.refused("other", OFFLINE, &["is not in the data directory, and lvh is offline"]);

    let lock = world.lock();
    assert_eq!(version(&world.taken("mine", UPDATE)), "two");
    assert!(world.lock().contains(&two), "{}", world.lock());
    assert_eq!(version(&world.taken("theirs", PLAIN)), "two");
    // Back again, as with an older commit of the project's own.
    fs::write(world.path("project/lvh.lock"), &lock).unwrap();
    assert_eq!(version(&world.taken("theirs", PLAIN)), "one");
    let lost = "1".repeat(40);
    fs::write(world.path("project/lvh.lock"), lock.replace(&one, &lost)).unwrap();
    world.refused("mine", PLAIN, &["not our ref", &lost, "lvh.lock names it: `lvh update k` pins one"]);
    fs::write(world.path("project/lvh.lock"), lock.replace("commit ", "comet ")).unwrap();
    world.refused("mine", PLAIN, &["`lvh.lock` names no commit: `comet ", "`lvh update k` writes it anew"]);
}

#[test]
fn without_lvh_toml_nothing_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.base_dir = dir.path().to_owned();
    config.data_dir = Some(dir.path().join("data"));
    config.locked = true;
    let resolve = |config: &Config, name: &str| {
        resolve_blocking(name, &config.kernel(name).unwrap(), &config.store().unwrap(), &Events::silent())
    };
    let report = resolve(&config, "6.12").unwrap_err().report();
    assert!(report.contains("kernel `6.12` is locked (`--locked`, LVH_LOCKED=1): no `lvh.toml` is here"), "{report}");
    quick::write(&dir.path().join("bzImage"), &quick::bzimage());
    assert!(resolve(&config, "./bzImage").is_ok(), "a path needs no resolving");
    assert!(!dir.path().join("lvh.lock").exists());
}
