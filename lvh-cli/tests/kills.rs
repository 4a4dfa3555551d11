//! Commands that fetch and build, killed at random moments: what the next one finds, and what is left when that has ended.
//!
//! `LVH_TEST_KILLS` says how many kills, `LVH_TEST_SEED` which moments.

#[expect(dead_code, reason = "these tests need the registry that is open")]
#[path = "../../lvh-oci/tests/registry/support/server.rs"]
mod server;

#[expect(dead_code, reason = "these kernels are not looked into")]
#[path = "../../lvh-core/tests/quick/mod.rs"]
mod quick;

#[path = "kills/builds.rs"]
mod builds;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use lvh_oci::{Content, Options, Pack, Place, Platform};
use rustix::process::{Pid, Signal, kill_process_group};
use server::{Flavour, Registry};

/// How large a kernel is: a build without optimisation takes half a second to unpack it.
const SIZE: usize = 1 << 20;

struct World {
    dir: tempfile::TempDir,
    registry: Registry,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let world = Self { registry: Registry::start(&Flavour::Open), dir };
        fs::create_dir_all(world.path("home")).unwrap();
        world.publish();
        world.make_source();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn publish(&self) {
        let from = self.path("kernel");
        write(&from.join("boot/vmlinuz-1"), &noise(SIZE));
        write(&from.join("lib/modules/1/a.ko"), b"last");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let contents = vec![Content { from, to: "data/kernels/6.6".to_owned() }];
            let pack = Pack { contents, platform: Platform::host(), annotations: Default::default(), tag: None };
            let packed = lvh_oci::pack(pack, &self.path("layout")).await.unwrap();
            let reference = self.registry.name("k:6.6-main").parse().unwrap();
            lvh_oci::push(&packed, &reference, Place::Manifest, &Options::default(), &|_| ()).await.unwrap();
        });
    }

    /// A repository of some hundred files, and a configuration that has it as a worktree and as a shallow clone.
    fn make_source(&self) {
        let source = self.path("source");
        (0..400).for_each(|at| write(&source.join(format!("{}/{at}.c", at % 40)), &noise(1000 + at)));
        git(&source, &["init", "-q", "-b", "master"]);
        git(&source, &["add", "."]);
        git(&source, &["commit", "-q", "-m", "one"]);
        let url = |rest: &str| format!(r#"{{"name": "k{}", "url": "file://{}{rest}"}}"#, rest.len(), source.display());
        write(&self.path("D/kernels.json"), format!(r#"{{"kernels": [{}, {}]}}"#, url(""), url("?depth=1")).as_bytes());
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lvh"));
        let words = words.replace("REPO", &self.registry.name("k"));
        command.args(words.split(' ')).current_dir(self.dir.path()).env_clear().env("HOME", self.path("home"));
        command.env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).process_group(0);
        command
    }

    /// Runs it to its end; says how long that took.
    fn run(&self, words: &str) -> Duration {
        let start = Instant::now();
        let output = self.command(words).output().unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        start.elapsed()
    }

    /// Runs it until `moment`, then ends it as the user or the kernel would.
    fn kill(&self, words: &str, moment: Duration, signal: Signal) {
        let mut child = self.command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(moment);
        let _gone_already = kill_process_group(Pid::from_child(&child), signal);
        child.wait().unwrap();
    }

    /// At once: a git that was killed just now may still be at work there.
    fn start_anew(&self, name: &str) {
        let away = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        let _none = fs::rename(self.path(name), &away);
        let _busy = fs::remove_dir_all(away);
    }

    /// What stands under the name of what was pulled is whole.
    fn nothing_is_half_made(&self) {
        let pulled = self.path("P/6.6-main");
        if pulled.exists() {
            assert!(fs::read(pulled.join("boot/vmlinuz-1")).unwrap() == noise(SIZE));
            assert_eq!(fs::read(pulled.join("lib/modules/1/a.ko")).unwrap(), b"last");
        }
    }

    fn nothing_is_left(&self) {
        assert_eq!(names(&self.path("P")), ["6.6-main"]);
        let oci = self.path("home/.cache/lvh/store/state/oci");
        for part in ["blobs/sha256", "partial", "tmp"] {
            assert_eq!(names(&oci.join(part)), [""; 0], "{part}");
        }
        for kernel in ["k0", "k8"] {
            let tree = self.path("D/kernels").join(kernel);
            assert_eq!(git(&tree, &["status", "--porcelain"]), "");
            git(&tree, &["fsck", "--connectivity-only"]);
            let own = names(&self.path("D/kernels/.lvh").join(kernel));
            assert!(!own.iter().any(|name| ["creating", "updating", "fetching"].contains(&name.as_str())), "{own:?}");
        }
        let mut all = Vec::new();
        walk(&self.path("D/kernels"), &mut all);
        assert!(!all.iter().any(|path| path.extension().is_some_and(|end| end == "lock")), "{all:?}");
    }
}

/// What is random in a test.
struct Dice(u64);

impl Dice {
    #[expect(clippy::print_stdout, reason = "who wants the same moments again needs it")]
    fn new() -> Self {
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = number("LVH_TEST_SEED").unwrap_or_else(now);
        println!("LVH_TEST_SEED={seed}");
        Self(seed | 1)
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A moment of what takes `whole`.
    fn moment(&self, whole: Duration) -> Duration {
        whole.mul_f64((self.0 % 1000) as f64 / 1000.0)
    }

    fn signal(&self) -> Signal {
        if self.0 & 64 == 0 { Signal::KILL } else { Signal::INT }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn what_is_killed_while_it_fetches_is_made_good_by_the_next() {
    let world = World::new();
    let kills = number("LVH_TEST_KILLS").unwrap_or(30);
    let mut dice = Dice::new();
    let commands =
        ["kernels pull 6.6-main --repo REPO --dir P", "kernels fetch --dir D k0", "kernels fetch --dir D k8"];
    let remains = ["P", "D/kernels", "D/kernels"];
    let whole = commands.map(|words| world.run(words));
    for kill in 0..kills {
        let at = kill as usize % 3;
        // What is there already takes no time; now and then one goes on from what was left.
        if !dice.roll().is_multiple_of(3) {
            world.start_anew(remains[at]);
        }
        world.kill(commands[at], dice.moment(whole[at]), dice.signal());
        world.nothing_is_half_made();
    }
    for words in commands {
        world.run(words);
    }
    world.nothing_is_half_made();
    world.nothing_is_left();
}

/// Bytes that no compression makes fewer.
fn noise(length: usize) -> Vec<u8> {
    let mut state = length as u64 | 1;
    let next = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    next.take(length.div_ceil(8)).flatten().take(length).collect()
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn git(dir: &Path, args: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "core.fsync=none"]).args(args).current_dir(dir);
    let output = git.output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn walk(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        all.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), all);
        }
    }
}
