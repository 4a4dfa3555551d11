//! A kernel's whole way, from its line in `kernels.json` to its removal. What `make` makes of this source is Debian's kernel with the words
//! of a file behind it, so that it boots and costs nothing; `tests/tests/kernel_git.rs` has one compiled.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lvh_core::{Config, Events, Kernel};

use super::{Team, packaged, run};

struct Site {
    team: Team,
    kernel: Kernel,
}

impl Site {
    fn new() -> Self {
        let config = Config::for_process(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let (source, store) = (config.kernel("6.12").unwrap(), config.store().unwrap());
        let kernel = lvh_core::kernel::resolve_blocking("6.12", &source, &store, &Events::silent()).unwrap();
        let site = Self { team: Team::new(), kernel };
        site.write_source();
        for machine in ["here", "fresh"] {
            fs::create_dir_all(site.path(machine)).unwrap();
            let text = format!("data-dir = 'D'\ncache = 'oci://{}'\n", site.team.proxy.name("team/cache"));
            fs::write(site.path(machine).join("lvh.toml"), text).unwrap();
        }
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.team.path(name)
    }

    fn write_source(&self) {
        packaged::write_packaged_source(&self.path("debian"), &self.kernel);
        self.git(&["init", "-q", "-b", "master"]);
        self.commit("one");
    }

    fn commit(&self, version: &str) {
        fs::write(self.path("debian/version"), version).unwrap();
        self.git(&["add", "-A", "-f"]);
        self.git(&["commit", "-q", "-m", version]);
    }

    fn git(&self, args: &[&str]) {
        let mut git = Command::new("git");
        run(git.args(["-c", "user.name=t", "-c", "user.email=t@t"]).args(args).current_dir(self.path("debian")));
    }

    /// Runs `lvh` on a machine; gives both of its outputs.
    #[track_caller]
    fn lvh(&self, machine: &str, line: &str, vars: &[(&str, &str)]) -> [String; 2] {
        let line = line.replace("SOURCE", self.path("debian").to_str().unwrap());
        let line = line.replace("REPO", &self.team.registry.name("k"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_lvh"));
        command.args(line.split(' ')).current_dir(self.path(machine)).env_clear();
        command.env("HOME", self.path(machine)).env("PATH", "/usr/bin:/bin").envs(vars.iter().copied());
        // What needs no modules; and without a look for a KVM that works, which each new data directory costs.
        command.env("LVH_ACCEL", "tcg").env("LVH_CHANNEL", "serial").env("LVH_SHARE", "packed");
        let output = command.output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(output.status.code(), Some(0), "{line}: {err}");
        [out, err]
    }

    /// The kernel boots; gives what was said meanwhile.
    #[track_caller]
    fn boots(&self, machine: &str, kernel: &str) -> String {
        let [out, err] = self.lvh(machine, &format!("exec -k {kernel} -- uname -r"), &[]);
        assert_eq!(out.trim_end(), self.kernel.release.as_str(), "{err}");
        err
    }

    #[track_caller]
    fn is_of(&self, image: &str, version: &str) {
        let bytes = fs::read(self.path(image)).unwrap_or_else(|error| panic!("{image}: {error}"));
        assert!(bytes.ends_with(version.as_bytes()), "{image} is not of `{version}`");
    }
}

#[test]
fn a_kernel_is_added_built_changed_shared_and_removed() {
    let site = Site::new();
    let here = |line: &str| site.lvh("here", line, &[]);
    here("kernels init --dir D --config-groups basic");
    here("kernels add --dir D k file://SOURCE#master");
    here("kernels configure --dir D k");
    assert!(site.path("here/D/kernels/k/.config").is_file());
    here("kernels build --dir D k");
    let image = if cfg!(target_arch = "aarch64") { "arch/arm64/boot/Image" } else { "arch/x86/boot/bzImage" };
    let image = format!("here/D/kernels/k/{image}");
    site.is_of(&image, "one");

    site.commit("two");
    here("kernels fetch --dir D k");
    here("kernels build --dir D k");
    site.is_of(&image, "two");
    site.boots("here", "k");

    let [_, said] = site.lvh("here", "update k", &[("LVH_CACHE_PUSH", "1")]);
    assert!(said.contains("storing it in") && !said.contains("could not"), "{said}");
    fs::create_dir(site.path("fresh/D")).unwrap();
    fs::copy(site.path("here/D/kernels.json"), site.path("fresh/D/kernels.json")).unwrap();
    let said = site.boots("fresh", "k");
    assert!(said.contains("looking in") && !said.contains("building"), "{said}");

    let release = site.kernel.release.as_str();
    here("kernels push k REPO:mine-main --dir D");
    site.lvh("fresh", "kernels pull mine-main --repo REPO --dir P", &[]);
    site.is_of(&format!("fresh/P/mine-main/boot/vmlinuz-{release}"), "two");
    site.boots("fresh", "./P/mine-main");

    here("kernels remove --dir D k");
    assert!(!site.path("here/D/kernels/k").exists());
    assert_eq!(here("kernels list --dir D")[0].lines().filter(|line| line.starts_with("k ")).count(), 0);
}
