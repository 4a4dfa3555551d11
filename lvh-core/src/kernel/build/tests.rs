//! When make runs, with a tree whose Makefile has a kernel's goals and takes no time. What make makes of a real kernel is
//! tested end to end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{BuildSpec, Built, Products, build, configure, configure_in_place};
use crate::kernel::git::{Checkouts, GitUrl, LocalWork};
use crate::kernel::options::{Base, KernelOption};
use crate::{Arch, Events, Result};

const MAKEFILE: &str = include_str!("../../../tests/quick/kernel.mk");
const KCONFIG: &str = "config A\n\tbool \"A\"\nconfig B\n\tbool \"B\"\n\tdepends on C\n";

struct World {
    dir: tempfile::TempDir,
    spec: BuildSpec,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap(), spec: BuildSpec::default() };
        let source = world.source();
        fs::create_dir(&source).unwrap();
        for (file, text) in [("Makefile", MAKEFILE), ("Kconfig", KCONFIG), ("version", "one\n")] {
            fs::write(source.join(file), text).unwrap();
        }
        world.git(&["init", "-q", "-b", "master"]);
        world.commit();
        world.fetch();
        world
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("data/kernels/k")
    }

    fn checkouts(&self) -> Checkouts {
        Checkouts::new(&self.dir.path().join("data"))
    }

    fn git(&self, args: &[&str]) {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@t", "-C"])
            .arg(self.source())
            .args(args)
            .env_remove("GIT_DIR");
        assert!(git.status().unwrap().success());
    }

    fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "x"]);
    }

    fn fetch(&self) {
        let url = GitUrl::parse("source", self.dir.path()).unwrap();
        self.checkouts().fetch("k", &url, LocalWork::Keep, &Events::silent()).unwrap();
    }

    fn set(&mut self, options: &[&str]) {
        self.spec.options = options.iter().flat_map(|option| KernelOption::parse(option).unwrap()).collect();
    }

    fn try_build(&self, products: Products) -> Result<Built> {
        build(&self.checkouts(), "k", &self.spec, products, &Events::silent())
    }

    fn build(&self) -> Built {
        self.try_build(Products::Kernel).unwrap_or_else(|error| panic!("{}", error.report()))
    }

    /// The goals that make had since the last call.
    fn goals(&self) -> String {
        let file = self.dir.path().join("data/kernels/.lvh/k/build/goals");
        let goals = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(file);
        goals.trim_end().replace('\n', "; ")
    }

    #[track_caller]
    fn check(&self, made: bool, goals: &str) -> Built {
        let built = self.build();
        assert_eq!((built.made, self.goals().as_str()), (made, goals));
        built
    }
}

const ALL: &str = if matches!(Arch::HOST, Arch::Aarch64) { "Image.gz modules" } else { "bzImage modules" };

#[test]
fn make_runs_where_something_changed() {
    let mut world = World::new();
    let first = world.check(true, &format!("defconfig; olddefconfig; {ALL}"));
    assert_eq!(first.release.as_str(), "6.1-lvh", "who built it is fixed");
    assert!(world.tree().join(".config").is_file());
    let again = world.check(false, "");
    assert_eq!((again.key.clone(), again.image), (first.key.clone(), first.image.clone()));

    // Options.
    world.set(&["A=n"]);
    let other = world.check(true, &format!("defconfig; olddefconfig; {ALL}"));
    assert_ne!(other.key, first.key);
    world.set(&[]);
    assert_eq!(world.check(true, &format!("defconfig; olddefconfig; {ALL}")).key, first.key);
    // Arguments of make.
    world.spec.make_args = vec!["V=1".into()];
    assert_ne!(world.build().key, first.key);
    world.spec.make_args.clear();
    world.build();
    world.goals();

    // What is not committed, and what is.
    fs::write(world.tree().join("version"), "edited\n").unwrap();
    let edited = world.check(true, &format!("defconfig; olddefconfig; {ALL}"));
    assert_ne!(edited.key, first.key);
    fs::write(world.tree().join("version"), "one\n").unwrap();
    fs::write(world.source().join("version"), "two\n").unwrap();
    world.commit();
    world.fetch();
    let second = world.check(true, &format!("defconfig; olddefconfig; {ALL}"));
    assert_ne!(second.commit, first.commit);
    assert!(fs::read_to_string(&second.image).unwrap().starts_with("two\n"));

    // What was made.
    fs::remove_file(&second.image).unwrap();
    world.check(true, ALL);
}

#[test]
fn a_configuration_of_peoples_stays_until_the_options_change() {
    let mut world = World::new();
    world.check(true, &format!("defconfig; olddefconfig; {ALL}"));
    let standing = world.tree().join(".config");
    fs::remove_file(&standing).unwrap();
    fs::write(&standing, "CONFIG_HAND=y\n").unwrap();
    let image = ALL.trim_end_matches(" modules");
    let built = world.check(true, &format!("olddefconfig; {image}"));
    assert_eq!((fs::read_to_string(built.config).unwrap().as_str(), built.outcomes), ("CONFIG_HAND=y\n", None));
    world.check(false, "");
    // It outlives a new commit.
    fs::write(world.source().join("version"), "two\n").unwrap();
    world.commit();
    world.fetch();
    world.check(true, &format!("olddefconfig; {image}"));
    world.set(&["A=n"]);
    let built = world.check(true, &format!("defconfig; olddefconfig; {ALL}"));
    assert!(!fs::read_to_string(built.config).unwrap().contains("HAND"));
}

/// Where lvh was killed while it configured, what stands is nobody's: neither the first time nor later.
#[test]
fn a_configuring_that_was_broken_off_begins_again() {
    let world = World::new();
    let own = world.dir.path().join("data/kernels/.lvh/k");
    let break_off = || {
        fs::create_dir_all(own.join("build")).unwrap();
        fs::write(own.join("configuring"), "").unwrap();
        fs::write(own.join("build/.config"), "CONFIG_HALF=y\n").unwrap();
        // That of the tree is hidden before.
        let _ = fs::remove_file(world.tree().join(".config"));
    };
    break_off();
    let first = world.check(true, &format!("defconfig; olddefconfig; {ALL}"));
    break_off();
    assert_eq!(world.check(false, "defconfig; olddefconfig").key, first.key);
    // But what somebody then puts there is theirs.
    break_off();
    fs::write(world.tree().join(".config"), "CONFIG_HAND=y\n").unwrap();
    let built = world.check(true, &format!("olddefconfig; {}", ALL.trim_end_matches(" modules")));
    assert_eq!(fs::read_to_string(built.config).unwrap(), "CONFIG_HAND=y\n");
}

#[test]
fn what_was_refused_is_refused_again() {
    let mut world = World::new();
    world.spec.strict = true;
    world.set(&["NOSUCH=y"]);
    for _ in 0..2 {
        let error = world.try_build(Products::Kernel).unwrap_err().report();
        assert!(error.contains("CONFIG_NOSUCH=y: this kernel has no such option"), "{error}");
    }
}

#[test]
fn packages_stand_in_the_tree_and_git_does_not_see_them() {
    let world = World::new();
    let pack = || world.try_build(Products::Packages).unwrap_or_else(|error| panic!("{}", error.report()));
    pack();
    assert_eq!(world.goals(), format!("defconfig; olddefconfig; {ALL}; tar-pkg"));
    let image = if cfg!(target_arch = "aarch64") { "arch/arm64/boot/Image.gz" } else { "arch/x86_64/boot/bzImage" };
    for file in [image, "tar-install/boot/vmlinuz-6.1", "linux-6.1-x.tar", ".config", "vmlinux"] {
        assert!(world.tree().join(file).is_file(), "{file}");
    }
    assert_eq!(world.checkouts().existing("k", &Events::silent()).unwrap().unwrap().changes, "");
    pack();
    assert_eq!(world.goals(), "");
    fs::remove_dir_all(world.tree().join("tar-install")).unwrap();
    pack();
    assert_eq!(world.goals(), "tar-pkg");
}

#[test]
fn a_failed_build_shows_its_end_and_is_gone_on_with() {
    let world = World::new();
    fs::write(world.tree().join("broken.c"), "").unwrap();
    let error = world.try_build(Products::Kernel).unwrap_err().report();
    for words in ["broken.c:1: error: it is", ".lvh/k/build.log"] {
        assert!(error.contains(words), "{error}");
    }
    fs::remove_file(world.tree().join("broken.c")).unwrap();
    // As when lvh was killed meanwhile, and with it what stands in the tree was away.
    let half = world.dir.path().join("data/kernels/.lvh/k/build/half.o");
    fs::write(half.with_file_name(".half.o.cmd"), "").unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    fs::File::options().write(true).open(half.with_file_name(".half.o.cmd")).unwrap().set_modified(old).unwrap();
    fs::write(&half, "").unwrap();
    assert!(world.build().made && !half.exists());
}

#[test]
fn what_was_built_in_its_place_is_taken_over() {
    let world = World::new();
    fs::create_dir_all(world.tree().join("include/config")).unwrap();
    fs::write(world.tree().join(".config"), "CONFIG_OLD=y\n").unwrap();
    let built = world.build();
    assert_eq!(fs::read_to_string(built.config).unwrap(), "CONFIG_OLD=y\n", "as the user left it");
    assert!(!world.tree().join("include").exists());
}

#[test]
fn options_are_judged() {
    let mut world = World::new();
    world.set(&["A=y", "B=y", "NOSUCH=y"]);
    let outcomes = |world: &World| {
        let configured = configure(&world.checkouts(), "k", &world.spec, &Events::silent()).unwrap();
        assert!(configured.config.is_file());
        configured.outcomes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let unknown = "CONFIG_NOSUCH=y: this kernel has no such option";
    // This tree's make lets B stand whatever it depends on.
    assert_eq!(outcomes(&world), ["CONFIG_A=y: honoured", "CONFIG_B=y: honoured", unknown]);
    world.spec.base = Base::Nothing;
    world.set(&["B=y"]);
    assert_eq!(outcomes(&world), ["CONFIG_B=y: honoured"]);
    world.spec = BuildSpec { strict: true, ..BuildSpec::default() };
    world.set(&["NOSUCH=y"]);
    let error = world.try_build(Products::Kernel).unwrap_err().report();
    assert!(error.contains("kernel `k`: 1 option was not honoured") && error.contains(unknown), "{error}");
}

#[test]
fn a_tree_of_others_is_configured_in_its_place() {
    let mut world = World::new();
    fs::write(world.source().join(".config"), "CONFIG_A=y\nCONFIG_X=\"y\"\n").unwrap();
    world.set(&["A=n", "NOSUCH=m"]);
    let configured = configure_in_place(&world.source(), &world.spec, &Events::silent()).unwrap();
    let text = fs::read_to_string(&configured.config).unwrap();
    assert_eq!(text, "# CONFIG_A is not set\nCONFIG_X=\"y\"\n");
    assert_eq!(configured.outcomes.iter().filter(|outcome| outcome.is_honoured()).count(), 1);
    let error = configure_in_place(Path::new("/nonexistent"), &world.spec, &Events::silent()).unwrap_err();
    assert!(error.to_string().contains("is no kernel's source tree"), "{error}");
}
