//! `lvh kernels catalog`, `pull` and `push` with a real registry, Debian's `docker-registry`.

#[expect(dead_code, reason = "of the registry's ways in, these tests need the open one")]
#[path = "../../lvh-oci/tests/registry/support/server.rs"]
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lvh_core::{Config, ErrorKind, Events, KernelSource, Store};
use lvh_oci::{BlobStore, Content, Options, Pack, Packed, Place, Platform};
use server::{Flavour, Registry};
use tempfile::TempDir;
use tokio::net::TcpSocket;

/// A directory with published kernels in `layout`, a registry that has them, and a home for `lvh`.
struct Site {
    dir: TempDir,
    registry: Registry,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for name in ["home", "empty"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir, registry: Registry::start(&Flavour::Open) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Publishes a kernel whose image is `words` for `platform` under all of `tags`.
    fn publish(&self, version: &str, words: &str, platform: &str, tags: &[&str]) -> Packed {
        let from = self.path("kernel");
        let _ = fs::remove_dir_all(&from);
        for (name, bytes) in [("boot/vmlinuz-1.2.3", words), ("boot/btf-1.2.3", "BTF"), ("lib/modules/1.2.3/a.ko", "a")]
        {
            fs::create_dir_all(from.join(name).parent().unwrap()).unwrap();
            fs::write(from.join(name), bytes).unwrap();
        }
        self.publish_tree(from, version, platform.parse().unwrap(), tags)
    }

    fn publish_tree(&self, from: PathBuf, version: &str, platform: Platform, tags: &[&str]) -> Packed {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let contents = vec![Content { from, to: format!("data/kernels/{version}") }];
            let tag = Some(tags[0].to_owned());
            let pack = Pack { contents, platform, annotations: Default::default(), tag };
            let packed = lvh_oci::pack(pack, &self.path("layout")).await.unwrap();
            for tag in tags {
                let reference = self.registry.name(&format!("k:{tag}")).parse().unwrap();
                lvh_oci::push(&packed, &reference, Place::Index, &Options::default(), &|_| ()).await.unwrap();
            }
            packed
        })
    }

    /// Publishes Debian's kernel as version 9.9; gives its release. Of its modules it has only the lists.
    fn publish_real(&self) -> String {
        let config = Config::for_process(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let source = config.kernel("6.12").unwrap();
        let kernel =
            lvh_core::kernel::resolve_blocking("6.12", &source, &config.store().unwrap(), &Events::silent()).unwrap();
        let (from, release) = (self.path("real"), kernel.release.to_string());
        let modules = from.join("lib/modules").join(&release);
        fs::create_dir_all(from.join("boot")).unwrap();
        fs::create_dir_all(&modules).unwrap();
        fs::copy(&kernel.image, from.join(format!("boot/vmlinuz-{release}"))).unwrap();
        fs::copy(kernel.config.unwrap(), from.join(format!("boot/config-{release}"))).unwrap();
        fs::copy(kernel.modules.unwrap().join("modules.builtin"), modules.join("modules.builtin")).unwrap();
        self.publish_tree(from, "9.9", Platform::host(), &["9.9-main"]);
        release
    }

    /// Runs `lvh`; `REPO` stands for the repository.
    fn lvh(&self, line: &str) -> Output {
        let line = line.replace("REPO", &self.registry.name("k"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_lvh"));
        // The guest gets the working directory packed.
        let dir = if line.starts_with("exec ") { self.path("empty") } else { self.path("") };
        command.args(line.split(' ')).current_dir(dir).env_clear().env("HOME", self.path("home"));
        // What needs no modules; and without a look for a KVM that works, which each new data directory costs.
        command
            .env("PATH", "/usr/bin:/bin")
            .env("LVH_ACCEL", "tcg")
            .env("LVH_CHANNEL", "serial")
            .env("LVH_SHARE", "packed");
        command.output().unwrap()
    }

    #[track_caller]
    fn check(&self, line: &str, code: i32, stdout: &str, stderr: &str) {
        let output = self.lvh(line);
        let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert_eq!((output.status.code(), out.as_str()), (Some(code), stdout), "{line}: {err}");
        assert!(err.contains(&stderr.replace("REPO", &self.registry.name("k"))), "{line}: {err}");
    }

    /// What the kernel `name` is, without asking a registry.
    #[track_caller]
    fn identity(&self, name: &str) -> String {
        let text = String::from_utf8(self.lvh(&format!("doctor --kernel {name}")).stdout).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("ok")?.trim_start().strip_prefix("from"));
        line.unwrap_or_else(|| panic!("{text}")).trim().to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The blobs that are kept in the data directory.
    fn blobs(&self) -> Vec<String> {
        let store = BlobStore::open(self.path("home/.cache/lvh/store/state/oci")).unwrap();
        let path = store.path(&lvh_oci::Digest::of(b""));
        names(path.parent().unwrap())
    }
}

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn catalog_and_pull() {
    let site = Site::new();
    site.publish("6.6", "six", "linux/amd64", &["6.6-main", "6.6-20250101.000000", "latest"]);
    let old = site.publish("6.6", "old six", "linux/amd64", &["6.6-20240101.000000"]);
    site.publish("6.6", "six for arm", "linux/arm64", &["6.6-main"]);
    site.publish("bpf-next", "next", "linux/amd64", &["bpf-next-main"]);
    site.publish("6.12", "twelve", "linux/amd64", &["6.12-main"]);

    site.check("kernels catalog --repo REPO", 0, "bpf-next\n6.6\n6.12\n", "");
    site.check("k catalog 6.6 --repo REPO", 0, "6.6-20240101.000000\n6.6-20250101.000000\n6.6-main\n", "");
    let unknown = "error: kernel version `6.7` was not found (try: bpf-next, 6.6, 6.12)\n";
    site.check("kernels catalog 6.7 --repo REPO", 1, "", unknown);

    // The calls of people's scripts.
    let done = "lvh: `REPO:6.6-main`: in `D/6.6-main`\n";
    site.check("kernel pull --platform=linux/amd64 --dir D --repo REPO 6.6-main", 0, "", done);
    assert_eq!(site.read("D/6.6-main/boot/vmlinuz-1.2.3"), "six");
    assert_eq!(site.read("D/6.6-main/boot/btf-1.2.3"), "BTF");
    assert_eq!(site.read("D/6.6-main/lib/modules/1.2.3/a.ko"), "a");
    site.check("kernels --dir D pull -p linux/arm64 --repo REPO 6.6-main", 0, "", done);
    assert_eq!(site.read("D/6.6-main/boot/vmlinuz-1.2.3"), "six for arm");
    site.check("kernels pull 6.12-main --repo REPO", 0, "", "lvh: `REPO:6.12-main`: in `./6.12-main`\n");
    assert_eq!(site.read("6.12-main/boot/vmlinuz-1.2.3"), "twelve");

    // What is not of such a kernel is not lost.
    fs::write(site.path("6.12-main/mine"), "").unwrap();
    let kept = "error: `./6.12-main` holds `mine`, and would be replaced\n";
    site.check("kernels pull 6.12-main --repo REPO", 1, "", kept);
    fs::write(site.path("6.6-main"), "").unwrap();
    site.check("kernels pull 6.6-main --repo REPO", 1, "", "error: failed to look into `./6.6-main`: Not a directory");
    fs::remove_file(site.path("6.6-main")).unwrap();

    // By digest, whatever the tag names by now.
    let line = format!("kernels pull -d pinned 6.6-main@{} --repo REPO", old.digest);
    site.check(&line, 0, "", "");
    assert_eq!(site.read("pinned/6.6-main/boot/vmlinuz-1.2.3"), "old six");
    assert_eq!(names(&site.path("pinned")), ["6.6-main"]);
    assert_eq!(site.blobs(), [""; 0]);
}

#[test]
fn without_a_registry() {
    let site = Site::new();
    site.publish("6.6", "six", "linux/amd64", &["6.6-main"]);
    site.check("kernels pull oci:layout:6.6-main --dir D", 0, "", "lvh: `oci:layout:6.6-main`: in `D/6.6-main`\n");
    assert_eq!(site.read("D/6.6-main/boot/vmlinuz-1.2.3"), "six");
    let tar = Command::new("tar").args(["-C", "layout", "-cf", "a.tar", "."]).current_dir(site.dir.path()).status();
    assert!(tar.unwrap().success());
    site.check("kernels pull oci-archive:a.tar:6.6-main -d E", 0, "", "");
    assert_eq!(site.read("E/6.6-main/boot/vmlinuz-1.2.3"), "six");
    site.check("kernels pull oci:nowhere:6.6-main", 1, "", "error: `nowhere` is not valid: it is no OCI layout");
}

#[test]
fn what_was_built_is_pushed_and_pulled_elsewhere() {
    let site = Site::new();
    let pushed = |line: &str| {
        let output = site.lvh(line);
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{err}");
        assert!(err.contains(" blobs uploaded\n"), "{err}");
        out.trim().to_owned()
    };
    for (kernel, words) in [("six", "six"), ("arm", "six for arm")] {
        let tree = site.path(&format!("D/kernels/{kernel}/tar-install"));
        fs::create_dir_all(tree.join("boot")).unwrap();
        fs::create_dir_all(tree.join("lib/modules/1.2.3")).unwrap();
        fs::write(tree.join("boot/vmlinuz-1.2.3"), words).unwrap();
        fs::write(tree.join("lib/modules/1.2.3/a.ko"), "a").unwrap();
    }
    let name = pushed("kernels --dir D push six REPO:6.6-main");
    assert!(name.starts_with(&format!("{}@sha256:", site.registry.name("k:6.6-main"))), "{name}");
    // The same tree is the same image, and another architecture's goes beside it.
    assert_eq!(pushed("kernels push --dir D six REPO:6.6-main"), name);
    pushed("kernels push ./D/kernels/arm/tar-install REPO:6.6-main --arch arm64");
    site.check("kernels pull --repo REPO 6.6-main -d E -p linux/amd64", 0, "", "");
    assert_eq!(site.read("E/6.6-main/boot/vmlinuz-1.2.3"), "six");
    assert_eq!(site.read("E/6.6-main/lib/modules/1.2.3/a.ko"), "a");
    site.check("kernels pull --repo REPO 6.6-main -d E -p linux/arm64", 0, "", "");
    assert_eq!(site.read("E/6.6-main/boot/vmlinuz-1.2.3"), "six for arm");
    assert_eq!(names(&site.path("D/kernels/six")), ["tar-install"]);

    let none = "error: failed to open `D/kernels/no/tar-install`: No such file or directory (os error 2)\n\nhint: `lvh kernels build no` ";
    site.check("kernels push no REPO:6.6-main --dir D", 1, "", none);
    fs::create_dir_all(site.path("bare/boot")).unwrap();
    site.check("kernels push ./bare REPO:6.6-main", 1, "", "error: `./bare` has no boot/vmlinuz-RELEASE\n");
    site.check("kernels push six --dir D", 1, "", "error: accepts 2 arg(s), received 1\n");
}

#[test]
fn what_cannot_be_pulled() {
    let site = Site::new();
    site.publish("6.6", "six", "linux/amd64", &["6.6-main"]);
    site.check("kernels pull --repo REPO 6.7-main -d D", 1, "", "error: `REPO:6.7-main` was not found\n");
    let platform = "error: `REPO:6.6-main` has nothing for linux/arm64 (it has: linux/amd64)\n";
    site.check("kernels pull --repo REPO 6.6-main -d D -p linux/arm64", 1, "", platform);
    let darwin = "error: `darwin/arm64` is no platform: expected `linux/amd64` or `linux/arm64`\n";
    site.check("kernels pull --repo REPO 6.6-main -d D -p darwin/arm64", 1, "", darwin);
    site.check(
        "kernels catalog --repo localhost:1/k",
        1,
        "",
        "error: failed to connect to the registry of `localhost:1/",
    );
    site.check(
        "kernels catalog --repo https://quay.io/k",
        1,
        "",
        "error: `https://quay.io/k` is no reference of an image",
    );
    // Another version's kernel is none, and nothing half-made is left.
    site.publish("6.12", "twelve", "linux/amd64", &["6.1-main"]);
    let missing = "error: `data/kernels/6.1` in `REPO:6.1-main` was not found (it has: data/kernels/6.12)\n";
    site.check("kernels pull --repo REPO 6.1-main -d D", 1, "", missing);
    assert_eq!(names(&site.path("D")), [""; 0]);
}

#[test]
fn a_published_kernel_is_fetched_once_and_boots() {
    let mut site = Site::new();
    let release = site.publish_real();
    let config = |text: &str| fs::write(site.path("lvh.toml"), text.replace("REPO", &site.registry.name("k"))).unwrap();
    config("kernel-repo = \"REPO\"\n[kernels.mine]\noci = \"oci:layout:9.9-main\"\n");
    let fetching = "lvh: kernel `9.9`: looking for `REPO:9.9-main`\n";
    site.check("exec --kernel 9.9 -- uname -r", 0, &format!("{release}\n"), fetching);
    assert_eq!(site.blobs(), [""; 0]);

    // The tag names another image by now, but was remembered.
    let (first, name) = (site.identity("9.9"), site.registry.name("k:9.9-main"));
    assert!(first.starts_with(&format!("{name}@sha256:")), "{first}");
    fs::write(site.path("real/boot/btf-1"), "BTF").unwrap();
    site.publish_tree(site.path("real"), "9.9", Platform::host(), &["9.9-main"]);
    assert_eq!(site.identity("9.9"), first);
    let updated = String::from_utf8(site.lvh("update 9.9").stdout).unwrap();
    assert!(updated.starts_with(&format!("9.9: {release} ({name}@sha256:")) && !updated.contains(&first), "{updated}");
    let lock = site.read("lvh.lock");
    assert!(lock.contains(digest_of(&site.identity("9.9"))), "{lock}");
    // A layout is such an image too, and a name with its digest needs no registry.
    let second = site.identity("9.9");
    assert!(site.identity("mine").starts_with(&format!("oci:{}:9.9-main@sha256:", site.path("layout").display())));
    let gone = site.registry.address().parse().unwrap();
    site.registry = Registry::start(&Flavour::Open);
    // Nobody else gets its port.
    let silent = TcpSocket::new_v4().unwrap();
    silent.set_reuseaddr(true).unwrap();
    silent.bind(gone).unwrap();
    assert_eq!(site.identity("9.9"), second);
    site.check("update 9.9", 125, "", ", nor can it be had as a published kernel: failed to connect to ");
    assert_eq!(site.identity("9.9"), second);
    assert_eq!(site.identity(&format!("oci:{first}")), first);
}

#[test]
fn names_that_no_registry_knows() {
    let site = Site::new();
    fs::write(site.path("lvh.toml"), format!("kernel-repo = '{}'", site.registry.name("k"))).unwrap();
    let unknown =
        format!("error: kernel `9.8` is not in `{}` (known: 5.10, 6.1, 6.12)", site.path("lvh.toml").display());
    let missing = ", nor can it be had as a published kernel: `REPO:9.8-main` was not found\n\nhint: write a table ";
    site.check("exec --kernel 9.8 -- true", 2, "", &format!("{unknown}{missing}"));
    fs::write(site.path("lvh.toml"), "kernel-repo = 'localhost:1/k'").unwrap();
    let unreachable =
        ", nor can it be had as a published kernel: failed to connect to the registry of `localhost:1/k:9.8-main`";
    site.check("exec --kernel 9.8 -- true", 125, "", &format!("{unknown}{unreachable}"));
    // What is misspelt is asked of nobody.
    site.check("exec --kernel 6.1x2 -- true", 2, "", "\n\nhint: did you mean `6.12`?\n");
    site.check(
        "exec --kernel oci:a:b:c -- true",
        2,
        "",
        "error: kernel `oci:a:b:c`: `a:b:c` is no reference of an image",
    );

    let store = |program: &str| Store::open(site.path("data")).unwrap().with_fetcher(program);
    let source = Config::default().kernel("9.8").unwrap();
    let resolve = |store: &Store| {
        let KernelSource::Oci(_) = source else { panic!("{source:?}") };
        lvh_core::kernel::resolve_blocking("9.8", &source, store, &Events::silent()).unwrap_err()
    };
    let offline = resolve(&store("true").with_offline(true));
    assert_eq!(offline.kind(), ErrorKind::Artifact);
    assert!(
        offline.report().ends_with("lvh is offline\n\nhint: where there is a network: lvh update 9.8"),
        "{offline}"
    );
    let other = resolve(&store("/bin/true"));
    assert_eq!(other.kind(), ErrorKind::Missing);
    let words = "`/bin/true` cannot fetch images for this version of lvh\n\nhint: cargo install lvh-cli";
    assert!(other.report().contains(words), "{}", other.report());
}

fn digest_of(identity: &str) -> &str {
    identity.split_once('@').expect("a digest").1
}
