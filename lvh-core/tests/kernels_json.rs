//! Kernels of `kernels.json` by name: built where `lvh kernels build` builds them, with a tree whose `make` takes no time.

mod quick;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lvh_core::config::{Config, KernelsFile};
use lvh_core::kernel::build::{Products, build};
use lvh_core::kernel::git::{Checkouts, GitUrl, LocalWork};
use lvh_core::kernel::{resolve_blocking, update_blocking};
use lvh_core::{Arch, Error, Events, Kernel};
use quick::{ALL, bzimage, write, write_source};

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        let source = world.path("source");
        fs::create_dir(&source).unwrap();
        world.git(&["init", "-q", "-b", "master"]);
        write_source(&source);
        world.commit("one\n");
        fs::create_dir(world.path("data")).unwrap();
        world.write_json("");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_json(&self, options: &str) {
        let source = self.path("source").display().to_string();
        let text =
            format!(r#"{{"kernels": [{{"name": "k", "url": "{source}", "opts": [{options}]}}, {{"name": "rhel8"}}]}}"#);
        fs::write(self.path("data/kernels.json"), text).unwrap();
    }

    fn git(&self, args: &[&str]) {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@t", "-C"]).arg(self.path("source")).args(args);
        assert!(git.env_remove("GIT_DIR").status().unwrap().success());
    }

    fn commit(&self, version: &str) {
        fs::write(self.path("source/version"), version).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "x"]);
    }

    fn config(&self) -> Config {
        Config::parse(&self.path("lvh.toml"), "data-dir = 'data'").unwrap()
    }

    fn kernel(&self, name: &str) -> Result<Kernel, Error> {
        let config = self.config();
        resolve_blocking(name, &config.kernel(name)?, &config.store()?, &Events::silent())
    }

    /// What `lvh kernels build k` does.
    fn build(&self) -> bool {
        let (data, file) = (self.path("data"), KernelsFile::load(&self.path("data")).unwrap());
        let spec = file.build_spec(file.kernel("k").unwrap(), Arch::HOST).unwrap();
        let built = build(&Checkouts::new(&data), "k", &spec, Products::Packages, &Events::silent());
        built.unwrap_or_else(|error| panic!("{}", error.report())).made
    }

    /// The goals that make had since the last call.
    fn goals(&self) -> String {
        let file = self.path("data/kernels/.lvh/k/build/goals");
        let goals = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(file);
        goals.trim_end().replace('\n', "; ")
    }

    /// The kernel `k` is of this version, and make had these goals for it.
    #[track_caller]
    fn check(&self, version: &str, goals: &str) {
        let kernel = self.kernel("k").unwrap_or_else(|error| panic!("{}", error.report()));
        check_version(&kernel.image, version);
        assert_eq!((self.goals().as_str(), kernel.release.as_str()), (goals, "6.1-lvh"));
    }
}

#[track_caller]
fn check_version(image: &Path, version: &str) {
    let text = fs::read_to_string(image).unwrap();
    assert!(text.starts_with(version), "{text}");
}

#[test]
fn a_kernel_is_built_once_whoever_builds_it() {
    let world = World::new();
    let anew = format!("defconfig; olddefconfig; {ALL}");
    world.check("one\n", &format!("{anew}; modules_install"));
    assert!(world.path("data/kernels/k/.git").exists(), "in the tree that `lvh kernels` knows");
    assert!(world.path("data/kernels/k/.config").is_file(), "with what people look for");
    assert!(!world.build(), "`lvh kernels build` finds it built");
    world.goals();
    world.check("one\n", "");

    // A new commit counts when people fetch and build it.
    world.commit("two\n");
    let url = GitUrl::parse("source", world.dir.path()).unwrap();
    Checkouts::new(&world.path("data")).fetch("k", &url, LocalWork::Keep, &Events::silent()).unwrap();
    world.check("one\n", "");
    assert!(world.build());
    world.goals();
    world.check("two\n", "modules_install");
    world.check("two\n", "");

    // So do other options, and what `lvh update` finds.
    world.write_json(r#"["--disable", "A"]"#);
    world.check("two\n", &format!("{anew}; modules_install"));
    world.commit("three\n");
    world.check("two\n", "");
    let (config, name) = (world.config(), "k");
    let store = config.store().unwrap();
    let updated = update_blocking(name, &config.kernel(name).unwrap(), &store, &Events::silent()).unwrap();
    check_version(&updated.image, "three\n");
    world.goals();
    world.check("three\n", "");
}

#[test]
fn a_kernel_that_another_tool_built_is_taken_as_it_is() {
    let world = World::new();
    let error = world.kernel("rhel8").unwrap_err().report();
    assert!(error.contains("kernel `rhel8` has no `url`"), "{error}");
    for (tree, file, text) in [
        ("rhel8", "Kbuild", ""),
        ("rhel8", "Kconfig", ""),
        ("k", "include/config/kernel.release", "6.6.0-go\n"),
        ("rhel8", "include/config/kernel.release", "4.18.0-x\n"),
    ] {
        write(&world.path("data/kernels").join(tree).join(file), text.as_bytes());
    }
    for (name, release) in [("rhel8", "4.18.0-x"), ("k", "6.6.0-go")] {
        write(&world.path("data/kernels").join(name).join("arch/x86/boot/bzImage"), &bzimage());
        let kernel = world.kernel(name).unwrap_or_else(|error| panic!("{}", error.report()));
        assert_eq!(kernel.release.as_str(), release);
        let tree = world.path("data/kernels").join(name).canonicalize().unwrap();
        assert_eq!(kernel.image, tree.join("arch/x86/boot/bzImage"));
    }
}

#[test]
fn a_kernel_that_is_not_there_needs_the_network() {
    let world = World::new();
    let mut config = world.config();
    config.offline = true;
    let store = config.store().unwrap();
    let error = resolve_blocking("k", &config.kernel("k").unwrap(), &store, &Events::silent()).unwrap_err().report();
    assert!(error.contains("is not in the data directory, and lvh is offline"), "{error}");
}
