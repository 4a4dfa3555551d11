//! What stands still: a QEMU that was stopped, a guest that sleeps, an lvh that was stopped. Who waits for it ends in time, and
//! leaves nothing.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lvh_tests::{Traces, lvh, send_signal};

/// What a run may take beyond what a command may: ten seconds for a kill that does nothing, five to end its VM and say so, and
/// as long again for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A run whose command said `ready`.
struct Run {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    traces: Traces,
}

impl Run {
    fn start(words: &[&str], script: &str) -> Self {
        let mut command = lvh();
        command.args(words).args(["/bin/sh", "-c", script]);
        command.env("LVH_KERNELS", "6.12").env_remove("CARGO").stdin(Stdio::null());
        // Ctrl-Z stops nobody in a group that has no parent in another one of its session, such as that of a CI system's job.
        command.process_group(0);
        let traces = Traces::mark(&mut command);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { child, stdout, traces }
    }

    fn signal(&self, signal: i32) {
        send_signal(self.child.id().cast_signed(), signal);
    }

    /// Asserts that it ends within `limit` beyond [`PATIENCE`], with this code; nothing is left, and gives what it wrote.
    #[track_caller]
    fn ends(mut self, limit: Duration, code: i32) -> (String, String) {
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(start.elapsed() < limit + PATIENCE, "it still runs after {:?}", start.elapsed()),
            }
            thread::sleep(Duration::from_millis(20));
        };
        self.traces.check_gone();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{stdout}\n{stderr}");
        (stdout, stderr)
    }
}

const STUCK: &str = "lvh: the command could not be killed within 10s; its VM is ended\n";

/// A command with a time limit, on a machine that `stand_still` stops.
fn check_timeout(script: &str, stand_still: impl FnOnce(&Run)) {
    let run = Run::start(&["exec", "-q", "--timeout", "15s", "--"], &format!("echo ready; {script}sleep 3600"));
    stand_still(&run);
    let (_, stderr) = run.ends(Duration::from_secs(15), 124);
    assert!(stderr.contains("lvh: timed out after 15s\n") && stderr.ends_with(STUCK), "{stderr}");
}

/// Who asks twice gets the end.
fn check_two_signals(words: &[&str]) {
    let mut run = Run::start(words, "echo ready; sleep 3600");
    send_signal(run.traces.qemu().pid, libc::SIGSTOP);
    let start = Instant::now();
    // Of two that come before it looks, it hears one.
    while run.child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "it still runs after {:?}", start.elapsed());
        run.signal(libc::SIGTERM);
        thread::sleep(Duration::from_millis(300));
    }
    let (_, stderr) = run.ends(Duration::ZERO, 128 + libc::SIGTERM);
    assert!(stderr.ends_with(STUCK), "{stderr}");
}

/// They wait, mostly: all at the same time.
#[test]
fn a_machine_that_stands_still_ends_with_its_command() {
    thread::scope(|scope| {
        scope.spawn(|| check_timeout("", |run| send_signal(run.traces.qemu().pid, libc::SIGSTOP)));
        scope.spawn(|| check_timeout("echo mem > /sys/power/state; ", |_| ()));
        scope.spawn(|| check_timeout("echo disk > /sys/power/state; ", |_| ()));
        scope.spawn(|| check_two_signals(&["exec", "-q", "--"]));
        scope.spawn(|| check_two_signals(&["runner", "-q", "--"]));
    });
}

/// The state of a process, proc(5).
fn state(child: &Child) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    status.lines().find_map(|line| line.strip_prefix("State:")).unwrap().trim().to_owned()
}

/// Ctrl-Z, `fg`, Ctrl-C.
#[test]
fn who_was_stopped_goes_on() {
    let run =
        Run::start(&["exec", "-q", "--"], "trap 'echo caught; exit 42' INT; echo ready; while :; do sleep 0.1; done");
    run.signal(libc::SIGTSTP);
    let start = Instant::now();
    while !state(&run.child).starts_with('T') {
        assert!(start.elapsed() < PATIENCE, "Ctrl-Z does not stop it");
        thread::sleep(Duration::from_millis(10));
    }
    run.signal(libc::SIGCONT);
    run.signal(libc::SIGINT);
    assert_eq!(run.ends(Duration::ZERO, 42).0, "caught\n");
}
