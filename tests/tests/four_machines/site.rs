//! What the machines share: a network, a registry, a mirror, programs, the archive of the tests, and a kernel's source.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

use lvh_core::{Config, Events, kernel};
use lvh_tests::{Finished, cargo, cargo_home, empty_directory, lvh, nextest};

use super::machine::Machine;
use super::mirror::Mirror;
use super::network::Network;
use super::packaged::write_packaged_source;
use super::server::{Flavour, Registry};
use super::traffic::Traffic;

/// One more goal, which counts how often the kernel is built.
const COUNT: &str = "bzImage Image.gz: count\ncount:\n\t@echo built >> ";
/// A report for `lvh report`.
const NEXTEST: &str = "[profile.default.junit]\npath = \"junit.xml\"\n";

/// All of it; gone when dropped, unless something failed.
#[derive(Debug)]
pub(crate) struct Site {
    dir: PathBuf,
    registry: Registry,
    mirror: Mirror,
    network: Network,
}

impl Site {
    pub(crate) fn new() -> Self {
        let dir = empty_directory(&env::temp_dir(), &format!("lvh-four-{}", std::process::id()));
        let network = Network::new();
        let registry = Registry::start_at(&network.host(), &Flavour::Open);
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-mirror");
        let mirror = Mirror::start(&network.host(), &kept);
        let site = Self { dir, registry, mirror, network };
        site.write_programs();
        site.write_source();
        site.write_archive();
        site
    }

    fn write_programs(&self) {
        let programs = self.path("programs");
        fs::create_dir(&programs).unwrap();
        fs::copy(nextest(), programs.join("cargo-nextest")).unwrap();
        fs::copy(lvh().get_program(), programs.join("lvh")).unwrap();
        fs::write(self.path("nextest.toml"), NEXTEST).unwrap();
    }

    /// A source whose `make` gives Debian's 6.12, with all modules.
    fn write_source(&self) {
        let config = Config::for_process(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let (source, store) = (config.kernel("6.12").unwrap(), config.store().unwrap());
        let kernel = kernel::resolve_blocking("6.12", &source, &store, &Events::silent()).unwrap();
        let dir = self.path("linux");
        write_packaged_source(&dir, &kernel);
        succeed(Command::new("cp").arg("-rT").arg(kernel.modules.as_ref().unwrap()).arg(dir.join("module-tree")));
        let makefile = fs::read_to_string(dir.join("Makefile")).unwrap();
        fs::write(dir.join("Makefile"), format!("{makefile}{COUNT}{}\n", self.path("builds").display())).unwrap();
        let settings = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "core.compression=0"];
        for args in [&["init", "-q", "-b", "master"][..], &["add", "-A", "-f"], &["commit", "-q", "-m", "one"]] {
            succeed(Command::new("git").args(settings).args(args).current_dir(&dir));
        }
    }

    fn write_archive(&self) {
        let mut build = cargo();
        build.args(["nextest", "archive", "--offline", "-p", "lvh-tests", "--test", "shards", "--archive-file"]);
        let built = Finished::of(build.arg(self.archive()));
        assert_eq!(built.code, Some(0), "{}", built.stderr);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn archive(&self) -> PathBuf {
        self.path("tests.tar.zst")
    }

    /// How often the kernel was built.
    pub(crate) fn builds(&self) -> usize {
        fs::read_to_string(self.path("builds")).unwrap_or_default().lines().count()
    }

    /// A machine that has the kernel's source.
    pub(crate) fn builder(&self) -> Machine {
        self.machine_without("builder", &[])
    }

    /// One without any source, with the `lvh.lock` that the builder has written.
    pub(crate) fn machine(&self, name: &str, builder: &Machine) -> Machine {
        let mut machine = self.machine_without(name, &self.hidden());
        fs::copy(builder.project().join("tests/lvh.lock"), machine.project().join("tests/lvh.lock")).unwrap();
        machine.set("LVH_LOCKED", "1");
        let toolchain = machine.run(machine.command("sh").args(["-c", "command -v cargo rustc rustup"]));
        assert_eq!(toolchain.stdout, "", "there is a toolchain");
        machine
    }

    fn machine_without(&self, name: &str, hidden: &[PathBuf]) -> Machine {
        let mut machine = Machine::new(&self.network, &self.path(name), hidden, &self.path("programs"));
        machine.set("LVH_DEBIAN_MIRROR", &self.mirror.url());
        machine.set("LVH_OCI_PLAIN_HTTP", &self.registry.address());
        let config = format!(
            "default-kernels = ['6.1', '6.12', 'next']\ncache = 'oci://{}'\n[kernels.next]\ngit = '{}'\n",
            self.registry.name("team/lvh"),
            self.path("linux").display()
        );
        fs::write(machine.project().join("tests/lvh.toml"), config).unwrap();
        machine
    }

    /// Where the workspace, what was built of it, the toolchain and the kernel's source are; none is within another.
    fn hidden(&self) -> Vec<PathBuf> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned();
        let rustup = env::var_os("RUSTUP_HOME").map_or_else(|| cargo_home().with_file_name(".rustup"), PathBuf::from);
        let all = [workspace, target, cargo_home(), rustup, self.path("linux")];
        let is_outer = |dir: &&PathBuf| all.iter().all(|other| *dir == other || !dir.starts_with(other));
        all.iter().filter(|dir| dir.is_dir()).filter(is_outer).cloned().collect()
    }

    /// What the machine was sent so far, by the registry and by the mirror.
    pub(crate) fn traffic(&self, machine: &Machine) -> [Traffic; 2] {
        [Traffic::of_log(&self.registry.access_log(), machine.address), self.mirror.traffic(machine.address)]
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("what the machines had is in {}", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

#[track_caller]
fn succeed(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
