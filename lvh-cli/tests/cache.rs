//! The registry that a team shares as the cache of kernels and images that are built, with a real one, Debian's `docker-registry`, and a proxy in
//! front of it that breaks what it is told to break.

#[expect(dead_code, reason = "these tests need neither TLS nor tokens")]
#[path = "../../lvh-oci/tests/registry/support/server.rs"]
mod server;

#[expect(dead_code, reason = "not all that it can break matters here")]
#[path = "../../lvh-oci/tests/registry/support/proxy.rs"]
mod proxy;

#[expect(dead_code, reason = "these kernels are not looked into")]
#[path = "../../lvh-core/tests/quick/mod.rs"]
mod quick;

#[path = "../../lvh-core/tests/quick/packaged.rs"]
mod packaged;

#[path = "cache/images.rs"]
mod images;

#[path = "cache/whole_way.rs"]
mod whole_way;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lvh_core::store::Key;
use proxy::{Fault, Proxy};
use server::{Flavour, Registry};
use tempfile::TempDir;
use tokio::net::TcpSocket;

/// A source in a git repository and in an archive, and machines that share a registry.
struct Team {
    dir: TempDir,
    registry: Registry,
    proxy: Proxy,
}

impl Team {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let registry = Registry::start(&Flavour::Open);
        let proxy = Proxy::start(&registry.address());
        let source = dir.path().join("linux");
        quick::write_source(&source);
        for args in [&["init", "-q", "-b", "master"][..], &["add", "-A"], &["commit", "-q", "-m", "x"]] {
            run(Command::new("git")
                .args(["-c", "user.name=t", "-c", "user.email=t@t"])
                .args(args)
                .current_dir(&source));
        }
        run(Command::new("tar").args(["-czf", "linux.tar.gz", "--exclude=.git", "linux"]).current_dir(dir.path()));
        Self { dir, registry, proxy }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn git(&self, rest: &str) -> String {
        format!("git = '{}'\n{rest}", self.path("linux").display())
    }

    fn tarball(&self, rest: &str) -> String {
        let archive = self.path("linux.tar.gz");
        let sha256 = Key::of_file(&archive).unwrap();
        format!("tarball = '{}'\nsha256 = '{sha256}'\n{rest}", archive.display())
    }

    /// A machine with an empty data directory, whose kernel `k` has this table.
    fn machine(&self, name: &str, table: &str) -> Machine {
        self.machine_with(name, &self.proxy.name("team/cache"), table)
    }

    fn machine_with(&self, name: &str, cache: &str, table: &str) -> Machine {
        let dir = self.path(name);
        for part in ["home", "no-programs"] {
            fs::create_dir_all(dir.join(part)).unwrap();
        }
        let text = format!("data-dir = 'data'\ncache = 'oci://{cache}'\n[kernels.k]\n{table}\n");
        fs::write(dir.join("lvh.toml"), text).unwrap();
        Machine { dir }
    }

    /// The tags in the registry, and what each names.
    fn tags(&self) -> Vec<(String, String)> {
        let tags = self.registry.storage().join("repositories/team/cache/_manifests/tags");
        let found = fs::read_dir(tags).into_iter().flatten().map(Result::unwrap);
        let link = |tag: fs::DirEntry| {
            (tag.file_name().into_string().unwrap(), fs::read_to_string(tag.path().join("current/link")).unwrap())
        };
        let mut tags: Vec<_> = found.map(link).collect();
        tags.sort();
        tags
    }
}

struct Machine {
    dir: PathBuf,
}

/// What `lvh update` said.
struct Said {
    /// The kernel, by its digest.
    kernel: String,
    stderr: String,
}

impl Machine {
    fn run(&self, args: &[&str], vars: &[(&str, &str)]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lvh"));
        command.args(args).current_dir(&self.dir).env_clear().env("HOME", self.dir.join("home"));
        command.env("PATH", "/usr/bin:/bin").env("LVH_CACHE_TIMEOUT", "60s").envs(vars.iter().copied());
        let output = command.output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(output.status.code(), Some(0), "{args:?}: {err}");
        let (_, kernel) = out.trim_end().rsplit_once("sha256:").unwrap_or_else(|| panic!("{out}{err}"));
        Said { kernel: kernel.trim_end_matches(')').to_owned(), stderr: err }
    }

    fn update(&self) -> Said {
        self.run(&["update", "k"], &[])
    }

    fn push(&self) -> Said {
        self.run(&["update", "k"], &[("LVH_CACHE_PUSH", "1")])
    }

    /// As `lvh.lock` of `other` has it, with neither git nor a compiler nor anything else.
    fn take(&self, other: &Self) -> Said {
        fs::copy(other.dir.join("lvh.lock"), self.dir.join("lvh.lock")).unwrap();
        let nothing = self.dir.join("no-programs");
        self.run(&["update", "--locked", "k"], &[("PATH", nothing.to_str().unwrap())])
    }

    /// The tree that it is built in.
    fn tree(&self) -> Option<PathBuf> {
        let found = fs::read_dir(self.dir.join("data/kernels")).ok()?.map(|entry| entry.unwrap().path());
        found.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("k-"))
    }
}

impl Said {
    #[track_caller]
    fn check(&self, kernel: &str, words: &[&str], never: &[&str]) {
        words.iter().for_each(|word| assert!(self.stderr.contains(word), "{word}: {}", self.stderr));
        never.iter().for_each(|word| assert!(!self.stderr.contains(word), "{word}: {}", self.stderr));
        assert_eq!(self.kernel, kernel, "{}", self.stderr);
    }
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

const BUILDING: &str = "kernel `k`: building";
const CONFIGURING: &str = "kernel `k`: configuring";

#[test]
fn what_one_machine_has_built_others_take() {
    let team = Team::new();
    let first = team.machine("first", &team.git(""));
    let built = first.push();
    built.check(&built.kernel, &["looking in `127.0.0.1:", BUILDING, "storing it in `127.0.0.1:"], &["could not"]);
    let tags = team.tags();
    assert_eq!(tags.len(), 2, "by its commit and table, and by all that it is made of: {tags:?}");
    assert!(tags.iter().any(|(tag, _)| *tag == format!("kernel-{}", built.kernel)));

    let locked = team.machine("locked", &team.git(""));
    locked.take(&first).check(&built.kernel, &["looking in"], &["fetching", "could not"]);
    assert!(locked.tree().is_none(), "not even its source is here");
    let asked = team.proxy.requests("GET").len();
    locked.take(&first).check(&built.kernel, &[], &["looking in"]);
    assert_eq!(team.proxy.requests("GET").len(), asked);

    let fresh = team.machine("fresh", &team.git(""));
    fresh.update().check(&built.kernel, &["fetching"], &[CONFIGURING, BUILDING]);
    // Another table that comes to the same kernel.
    let strict = team.machine("strict", &team.git("strict = true"));
    strict.update().check(&built.kernel, &[CONFIGURING], &[BUILDING]);
    let other = team.machine("other", &team.git("options = ['A=n']"));
    let other = other.update();
    other.check(&other.kernel, &[CONFIGURING, BUILDING], &["storing"]);
    assert_ne!(other.kernel, built.kernel);
    assert_eq!(team.tags(), tags);
}

#[test]
fn what_people_changed_is_theirs() {
    let team = Team::new();
    let machine = team.machine("machine", &team.git(""));
    let built = machine.push();
    let tags = team.tags();
    let tree = machine.tree().unwrap();
    fs::write(tree.join("version"), "changed\n").unwrap();
    let changed = machine.push();
    changed.check(&changed.kernel, &[BUILDING], &["storing"]);
    assert_eq!(team.tags(), tags);
    fs::write(tree.join("version"), "one\n").unwrap();
    // By hand: another kernel, which the commit and the table do not stand for.
    fs::remove_file(tree.join(".config")).unwrap();
    fs::write(tree.join(".config"), "CONFIG_HAND=y\n").unwrap();
    let by_hand = machine.push();
    by_hand.check(&by_hand.kernel, &["changed by hand", BUILDING, "storing"], &[]);
    assert_eq!(team.tags().len(), 3);
    team.machine("other", &team.git("")).take(&machine).check(&built.kernel, &[], &["could not"]);
}

#[test]
fn an_archive_need_not_be_there() {
    let team = Team::new();
    let table = team.tarball("");
    let built = team.machine("first", &table).push();
    fs::remove_file(team.path("linux.tar.gz")).unwrap();
    let second = team.machine("second", &table);
    second.update().check(&built.kernel, &[], &["unpacking the source", CONFIGURING]);
    // What was built, or taken, before there was a cache goes there when it is looked at again.
    fs::remove_dir_all(team.registry.storage().join("repositories")).unwrap();
    let third = team.machine("third", &team.git(""));
    let built = third.update();
    third.push().check(&built.kernel, &["storing"], &[BUILDING]);
    assert!(team.tags().iter().any(|(tag, _)| *tag == format!("kernel-{}", built.kernel)));
}

const NOT_LOOKED_FOR: &str = "kernel `k`: it is built here, for it could not be looked for in `127.0.0.1:";

#[test]
fn a_registry_that_fails_costs_a_warning() {
    let team = Team::new();
    let table = team.tarball("");
    let built = team.machine("first", &table).push();
    let blob = "GET /v2/team/cache/blobs/";
    let manifest = "GET /v2/team/cache/manifests/";
    let broken = |number: usize, request: &'static str, fault: Fault, words: &str| {
        // Only where nothing comes is it waited for.
        let patience = if matches!(fault, Fault::Stall(_)) { "1s" } else { "60s" };
        let proxy = Proxy::start(&team.registry.address());
        proxy.on(request, usize::MAX, fault);
        let machine = team.machine_with(&format!("broken-{number}"), &proxy.name("team/cache"), &table);
        let start = Instant::now();
        let said = machine.run(&["update", "k"], &[("LVH_CACHE_TIMEOUT", patience), ("LVH_CACHE_PUSH", "1")]);
        said.check(&built.kernel, &[NOT_LOOKED_FOR, words, BUILDING], &["storing"]);
        assert_eq!(said.stderr.matches("could not").count(), 1, "{}", said.stderr);
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        assert_eq!(entries(&machine.dir.join("data/store/tmp")), [".gate"]);
    };
    broken(0, manifest, Fault::Answer("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), "HTTP 503");
    let limited = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n";
    broken(1, "/v2/", Fault::Answer(limited), "too many requests");
    broken(2, blob, Fault::Stall(10), "timed out");
    broken(3, blob, Fault::Alter(20), "it was altered on its way");
    broken(4, blob, Fault::Answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "was not found");
}

#[test]
fn no_registry_and_no_right_cost_a_warning() {
    let team = Team::new();
    let table = team.tarball("");
    // It has a port, so that nobody else gets that, and never listens.
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = team.machine_with("nobody", &format!("{}/team/cache", silent.local_addr().unwrap()), &table);
    let built = nobody.push();
    built.check(&built.kernel, &[NOT_LOOKED_FOR, "failed to connect", BUILDING], &["storing"]);
    let locked = Registry::start(&Flavour::Password);
    let stranger = team.machine_with("stranger", &locked.name("team/cache"), &table);
    stranger.push().check(&built.kernel, &[NOT_LOOKED_FOR, "denied access", "docker login"], &["storing"]);
    // Who may read, and not write.
    team.proxy.on("POST /v2/", 9, Fault::Answer("HTTP/1.1 405 Not Allowed\r\nContent-Length: 0\r\n\r\n"));
    let reader = team.machine("reader", &table).push();
    reader.check(&built.kernel, &[BUILDING, "kernel `k`: it could not be stored in `127.0.0.1:"], &["looked for"]);
    assert_eq!((team.tags(), reader.stderr.matches("could not").count()), (Vec::new(), 1));
    let offline = team.machine("offline", &table).run(&["update", "k"], &[("LVH_OFFLINE", "1")]);
    offline.check(&built.kernel, &[BUILDING], &["looking in"]);
}

/// Somebody moves tags about, or puts something else there.
#[test]
fn another_kernel_is_never_taken() {
    let team = Team::new();
    let built = team.machine("first", &team.tarball("")).push();
    let other = team.machine("second", &team.tarball("options = ['A=n']")).push();
    let tags = team.registry.storage().join("repositories/team/cache/_manifests/tags");
    let link = |kernel: &str| tags.join(format!("kernel-{kernel}/current/link"));
    let theirs = fs::read_to_string(link(&other.kernel)).unwrap();
    for tag in fs::read_dir(&tags).unwrap() {
        fs::write(tag.unwrap().path().join("current/link"), &theirs).unwrap();
    }
    let third = team.machine("third", &team.tarball("")).update();
    third.check(&built.kernel, &[NOT_LOOKED_FOR, "it is another kernel than its tag says", BUILDING], &[]);
}

fn entries(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
