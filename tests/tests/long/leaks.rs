//! A run that is cut short leaves no process, no file and no socket; the next one works.

#![expect(clippy::print_stdout, reason = "libtest shows which random numbers a failure came with")]

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use lvh_core::Config;
use lvh_tests::{Finished, Project, Report, TestTarget, Traces, cargo, empty_directory, send_signal};

static IN_VMS: LazyLock<TestTarget> = LazyLock::new(|| TestTarget::build("in_vms"));

/// When a run is cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// QEMU runs, the guest has not been heard of.
    Boot,
    /// A test runs.
    Test,
}

/// Who gets the signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The test binary, started by hand.
    Binary,
    /// The `cargo test` that started it, alone.
    Cargo,
    /// `cargo test` and its process group, as by Ctrl-C in a terminal.
    Terminal,
}

impl Target {
    /// A run of `project`, as the leader of a process group.
    fn command(self, project: &Project) -> Command {
        let mut command = match self {
            Self::Binary => project.command(&IN_VMS),
            Self::Cargo | Self::Terminal => cargo_test(project),
        };
        command.process_group(0);
        // Whoever runs these tests in the background may have us ignore it, and children inherit that.
        // SAFETY: a plain system call.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
        command
    }

    /// Sends a signal to the run of `child`.
    fn signal(self, child: &Child, signal: i32) {
        let pid = child.id().cast_signed();
        send_signal(if self == Self::Terminal { -pid } else { pid }, signal);
    }
}

/// A run that waits to be cut short.
struct Run {
    project: Project,
    child: Child,
    traces: Traces,
}

impl Run {
    /// Starts a run of a test that never ends; returns at `moment`.
    fn start(target: Target, moment: Moment) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("leaks-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let project = Project::new(Path::new(env!("CARGO_TARGET_TMPDIR")), &name, "");
        let mut command = target.command(&project);
        command.args(["--exact", "killed::a_waits", "--nocapture"]);
        // One that resumes says nothing before it is ready.
        command.env("LVH_WARM_START", if moment == Moment::Boot { "0" } else { "1" });
        let traces = Traces::mark(&mut command);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        match moment {
            Moment::Boot => read_until(child.stderr.as_mut().unwrap(), ": booting ("),
            Moment::Test => read_until(child.stdout.as_mut().unwrap(), "kill me"),
        }
        traces.qemu();
        Self { project, child, traces }
    }

    /// Asserts that the signal ends it, and that nothing is left.
    #[track_caller]
    fn ends(self, target: Target, signal: i32) {
        let Self { project, mut child, traces } = self;
        target.signal(&child, signal);
        // Our ends of the pipes go with the child.
        drop((child.stdout.take(), child.stderr.take()));
        let status = child.wait().unwrap();
        if target != Target::Terminal {
            assert_eq!(status.signal(), Some(signal), "{target:?}: {status}");
        }
        traces.check_gone();
        project.check_clean();
    }
}

fn cargo_test(project: &Project) -> Command {
    let mut command = cargo();
    command.env("TMPDIR", project.temporary()).env("LVH_KERNELS", "6.12").args([
        "test",
        "--offline",
        "--test",
        "in_vms",
        "--",
    ]);
    command
}

fn read_until(stream: impl Read, text: &str) {
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("UTF-8"));
    assert!(lines.any(|line| line.contains(text)), "the run ended before it wrote `{text}`");
}

#[track_caller]
fn check(target: Target, moment: Moment, signal: i32) {
    Run::start(target, moment).ends(target, signal);
}

#[test]
fn an_interrupted_binary() {
    check(Target::Binary, Moment::Boot, libc::SIGINT);
    check(Target::Binary, Moment::Test, libc::SIGINT);
}

/// Ctrl-Z, `fg`, Ctrl-C.
#[test]
fn an_interrupted_binary_that_was_stopped_before() {
    let run = Run::start(Target::Binary, Moment::Test);
    let pid = run.child.id();
    Target::Binary.signal(&run.child, libc::SIGTSTP);
    let stopped = || fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("State:\tT");
    while !stopped() {
        thread::sleep(Duration::from_millis(10));
    }
    Target::Binary.signal(&run.child, libc::SIGCONT);
    run.ends(Target::Binary, libc::SIGINT);
}

#[test]
fn a_terminated_binary() {
    check(Target::Binary, Moment::Boot, libc::SIGTERM);
    check(Target::Binary, Moment::Test, libc::SIGTERM);
}

#[test]
fn a_killed_binary() {
    check(Target::Binary, Moment::Boot, libc::SIGKILL);
    check(Target::Binary, Moment::Test, libc::SIGKILL);
}

#[test]
fn a_killed_cargo() {
    check(Target::Cargo, Moment::Boot, libc::SIGKILL);
    check(Target::Cargo, Moment::Test, libc::SIGKILL);
}

#[test]
fn an_interrupted_terminal() {
    check(Target::Terminal, Moment::Boot, libc::SIGINT);
    check(Target::Terminal, Moment::Test, libc::SIGINT);
}

/// After one that was killed, a run that is left alone.
#[test]
fn the_next_run_works_and_leaves_nothing_either() {
    check(Target::Binary, Moment::Test, libc::SIGKILL);
    let project = Project::new(Path::new(env!("CARGO_TARGET_TMPDIR")), "leaks-none", "");
    let mut command = project.command(&IN_VMS);
    let traces = Traces::mark(command.args(["--exact", "ends::passes", "ends::leaves_processes_behind"]));
    let Finished { code, stdout, stderr } = Finished::of(&mut command);
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    assert_eq!(traces.processes(), []);
    project.check_clean();
}

/// How often a run is cut short at random; `LVH_TEST_KILLS` says otherwise.
const KILLS: u64 = 9;

/// Longer than a killed run's processes take to die, and much shorter than `killed::a_waits` waits.
const DEATH_DEADLINE: Duration = Duration::from_secs(30);

/// At any moment: while the guest's files are made, of the boot, of the test, of the end.
#[test]
fn a_run_that_is_killed_at_random() {
    let kills = env::var("LVH_TEST_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let seed = env::var("LVH_TEST_SEED").map_or_else(|_| fresh_seed(), |seed| seed.parse().expect("a number"));
    println!("LVH_TEST_SEED={seed} LVH_TEST_KILLS={kills}");
    let (mut random, project) =
        (Random(seed), Project::new(Path::new(env!("CARGO_TARGET_TMPDIR")), "leaks-random", ""));
    let data = DataDir::borrow_kernels("leaks-random-data");
    let before = shared_places();
    let longest = run_alone(&project, &data);
    for number in 0..kills {
        let target = random.pick([Target::Binary, Target::Cargo, Target::Terminal]);
        let signal = random.pick([libc::SIGINT, libc::SIGTERM, libc::SIGKILL]);
        let test = random.pick(["ends::passes", "killed::a_waits"]);
        let after = longest.mul_f64(random.fraction());
        println!("{number}: {target:?} gets {signal} after {after:?} of {test}");
        if random.pick([true, false]) {
            data.forget_what_was_made();
        }
        kill_after(
            target,
            signal,
            after,
            target.command(&project).env("LVH_DATA_DIR", &data.0).args(["--exact", test]),
        );
        project.check_clean();
        check_shared_places(&before);
    }
    run_alone(&project, &data);
    data.check_clean();
    check_shared_places(&before);
}

/// A run that is left alone, whose files are still to be made; how long it took.
fn run_alone(project: &Project, data: &DataDir) -> Duration {
    data.forget_what_was_made();
    let mut command = Target::Cargo.command(project);
    let traces = Traces::mark(command.env("LVH_DATA_DIR", &data.0).args(["--exact", "ends::passes"]));
    let started = Instant::now();
    let Finished { code, stdout, stderr } = Finished::of(&mut command);
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    assert_eq!(traces.processes(), []);
    project.check_clean();
    started.elapsed()
}

fn kill_after(target: Target, signal: i32, after: Duration, command: &mut Command) {
    let traces = Traces::mark(command);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(after);
    target.signal(&child, signal);
    child.wait().unwrap();
    traces.check_gone_within(DEATH_DEADLINE);
}

/// What QEMU and its devices may leave where `TMPDIR` has no say. Its `vl.*` follow `TMPDIR`, so those here are of other tests' VMs, of
/// which one that is killed may leave one for ever.
fn shared_places() -> BTreeSet<PathBuf> {
    let entries = ["/tmp", "/dev/shm", "/var/tmp"].iter().filter_map(|place| fs::read_dir(place).ok()).flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        ["qemu", "vhost"].iter().any(|beginning| name.starts_with(beginning))
    };
    paths.filter(is_ours).collect()
}

/// Asserts that nothing stays in the shared places that was not there before. A QEMU of another test may have something there
/// for a moment.
#[track_caller]
fn check_shared_places(before: &BTreeSet<PathBuf>) {
    let mut left: Vec<PathBuf> = shared_places().difference(before).cloned().collect();
    let begin = Instant::now();
    while !left.is_empty() {
        assert!(begin.elapsed() < DEATH_DEADLINE, "{left:?}");
        thread::sleep(Duration::from_millis(20));
        left.retain(|path| path.symlink_metadata().is_ok());
    }
}

/// A data directory that has its kernels from the one of this machine, and makes everything else itself.
struct DataDir(PathBuf);

impl DataDir {
    fn borrow_kernels(name: &str) -> Self {
        let directory = empty_directory(Path::new(env!("CARGO_TARGET_TMPDIR")), name);
        let kernels = Config::for_process(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let (store, theirs) = (directory.join("store"), kernels.data_dir().unwrap().join("store"));
        fs::create_dir_all(store.join("resolved")).unwrap();
        symlink(theirs.join("deb-kernel"), store.join("deb-kernel")).unwrap();
        for answer in fs::read_dir(theirs.join("resolved")).unwrap().flatten() {
            fs::copy(answer.path(), store.join("resolved").join(answer.file_name())).unwrap();
        }
        Self(directory)
    }

    /// The next run makes it again.
    fn forget_what_was_made(&self) {
        for kind in ["initramfs", "vmlinux"] {
            let _ = fs::remove_dir_all(self.0.join("store").join(kind));
        }
    }

    /// A run that made something has swept away what those before it left unfinished.
    #[track_caller]
    fn check_clean(&self) {
        let left: Vec<_> =
            fs::read_dir(self.0.join("store/tmp")).unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(left.iter().all(|path| path.ends_with(".gate")), "{left:?}");
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Numbers that the seed determines: xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn pick<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[(self.next() % N as u64) as usize]
    }

    /// From 0 to 1.
    fn fraction(&mut self) -> f64 {
        self.next() as f64 / (u64::MAX >> 11) as f64
    }
}

/// Any but 0, which stays 0.
fn fresh_seed() -> u64 {
    RandomState::new().hash_one(std::process::id()) >> 1 | 1
}

/// What started it was killed before it could look who that is.
#[test]
fn an_orphan_ends_at_once() {
    let project = Project::new(Path::new(env!("CARGO_TARGET_TMPDIR")), "leaks-orphan", "");
    let mut command = Command::new("sh");
    command.args(["-c", r#"(sleep 1; exec "$0" --exact killed::a_waits) &"#]).arg(IN_VMS.executable());
    command.env("CARGO", "cargo").stdout(Stdio::null()).stderr(Stdio::null());
    project.own(&mut command);
    let traces = Traces::mark(&mut command);
    assert!(command.status().unwrap().success());
    traces.check_gone_within(DEATH_DEADLINE);
}

/// A bug of the harness, while a VM runs.
#[test]
fn a_harness_that_panics() {
    let project = Project::new(Path::new(env!("CARGO_TARGET_TMPDIR")), "leaks-panic", "");
    let mut command = project.command(&IN_VMS);
    let traces = Traces::mark(command.env("LVH_KERNELS", "6.12").arg("broken_harness::"));
    let report = Report::of(&mut command);
    let Finished { code, stdout, stderr } = report.finished();
    assert_eq!(*code, Some(101), "{stdout}\n{stderr}");
    assert!(stderr.contains("panicked at lvh-test/src/session/vm_session.rs:"), "{stderr}");
    assert_eq!(report.result("broken_harness::a_has_an_impossible_option"), "FAILED");
    traces.check_gone();
    project.check_clean();
}

/// nextest kills what takes too long; a process or a pipe that outlives the test would be a `LEAK` to it.
#[test]
fn a_test_that_nextest_terminates() {
    let project = Project::new(Path::new(env!("CARGO_TARGET_TMPDIR")), "leaks-nextest", "");
    for (period, grace) in [("3s", "10s"), ("15s", "10s"), ("15s", "0s")] {
        let profile = format!(
            "[profile.default]\nleak-timeout = '10s'\nslow-timeout = {{ period = '{period}', terminate-after = 1, grace-period = '{grace}' }}\n"
        );
        let config = project.dir.join("nextest.toml");
        fs::write(&config, profile).unwrap();
        let mut command = cargo();
        command.args(["nextest", "run", "--offline", "--color=never", "--test", "in_vms", "--config-file"]).arg(config);
        command
            .args(["--", "--exact", "killed::a_waits"])
            .env("LVH_KERNELS", "6.12")
            .env("TMPDIR", project.temporary());
        let traces = Traces::mark(&mut command);
        let Finished { code, stderr, .. } = Finished::of(&mut command);
        assert_eq!(code, Some(100), "{stderr}");
        assert!(stderr.contains("1 test run: 0 passed, 1 timed out, "), "{stderr}");
        assert!(!stderr.contains("LEAK"), "{stderr}");
        traces.check_gone_within(DEATH_DEADLINE);
        project.check_clean();
    }
}
