//! A run that is cut short leaves no process, no file and no socket; the next one works.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use lvh_tests::{Finished, Project, TestTarget, Traces, cargo, send_signal};

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
        let mut command = match target {
            Target::Binary => project.command(&IN_VMS),
            Target::Cargo | Target::Terminal => cargo_test(&project),
        };
        command.args(["--exact", "killed::a_waits", "--nocapture"]).process_group(0);
        // Whoever runs these tests in the background may have us ignore it, and children inherit that.
        // SAFETY: a plain system call.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
        let traces = Traces::mark(&mut command);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        match moment {
            Moment::Boot => read_until(child.stderr.as_mut().unwrap(), ": booting ("),
            Moment::Test => read_until(child.stdout.as_mut().unwrap(), "kill me"),
        }
        traces.qemu();
        Self { project, child, traces }
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
    let Run { project, mut child, traces } = Run::start(target, moment);
    let pid = child.id().cast_signed();
    send_signal(if target == Target::Terminal { -pid } else { pid }, signal);
    // Our ends of the pipes go with the child.
    drop((child.stdout.take(), child.stderr.take()));
    let status = child.wait().unwrap();
    if target != Target::Terminal {
        assert_eq!(status.signal(), Some(signal), "{target:?} {moment:?}: {status}");
    }
    traces.check_gone();
    project.check_clean();
}

#[test]
fn an_interrupted_binary() {
    check(Target::Binary, Moment::Boot, libc::SIGINT);
    check(Target::Binary, Moment::Test, libc::SIGINT);
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
