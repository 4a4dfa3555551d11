//! The clocks of a guest that has just been resumed, under KVM.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::exec::lvh;

/// How far the wall clock may be off, in seconds.
const TOLERANCE: f64 = 0.005;

/// Answers each line with the wall clock and the time since boot, in seconds; it is all done by the shell itself.
const SCRIPT: &str = "while read -r _; do read -r up _ </proc/uptime; echo $EPOCHREALTIME $up; done";

/// Twice: the second guest resumes long after the snapshot was taken. Channel and share are lvh's choice.
pub(crate) fn check() {
    let (first, second) = (after_a_resume(), after_a_resume());
    // Both go on where the snapshot was taken, not where the other one ended.
    assert!((first - second).abs() < 5.0, "up for {first} and {second} s");
}

/// Compares the clocks with ours; how long the guest says it was up when it was first asked.
fn after_a_resume() -> f64 {
    let mut guest = Guest::start();
    let first = guest.ask();
    first.check_wall_clock();
    std::thread::sleep(Duration::from_secs(3));
    let last = guest.ask();
    last.check_wall_clock();
    let (here, there) = ((last.asked - first.asked).as_secs_f64(), last.up - first.up);
    let slack = 0.05 + first.took + last.took;
    assert!((here - there).abs() < slack, "{there} s passed in the guest, {here} s here");
    guest.end();
    first.up
}

/// A shell in a guest.
struct Guest {
    lvh: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// What it said of its clocks.
struct Answer {
    asked: Instant,
    /// Our wall clock before and after, and the guest's between, in seconds.
    before: f64,
    wall: f64,
    after: f64,
    /// How long the guest has been up.
    up: f64,
    took: f64,
}

impl Guest {
    fn start() -> Self {
        let mut command = lvh();
        command.args(["exec", "--kernel", "6.12", "--cpus", "1", "bash", "-c", SCRIPT]).env("LVH_ACCEL", "auto");
        let mut lvh = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(lvh.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains(" ready in ") {
            assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
        }
        print!("{said}");
        assert!(said.contains(" s (kvm, vhost-vsock, 9p, warm)"), "{said}");
        assert!(!said.contains("TCG"), "{said}");
        let (stdin, stdout) = (lvh.stdin.take().unwrap(), BufReader::new(lvh.stdout.take().unwrap()));
        Self { lvh, stdin, stdout }
    }

    fn ask(&mut self) -> Answer {
        let (asked, before) = (Instant::now(), now());
        self.stdin.write_all(b"\n").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        let after = now();
        let (wall, up) = line.trim_end().split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        Answer { asked, before, wall: wall.parse().unwrap(), after, up: up.parse().unwrap(), took: after - before }
    }

    /// Closes its standard input, which ends the shell.
    fn end(self) {
        let Self { mut lvh, stdin, stdout } = self;
        drop((stdin, stdout));
        assert!(lvh.wait().unwrap().success());
    }
}

impl Answer {
    #[track_caller]
    fn check_wall_clock(&self) {
        let Self { before, wall, after, up, .. } = self;
        println!("clock {:+.4} to {:+.4} s, up for {up} s", wall - after, wall - before);
        assert!((before - TOLERANCE..=after + TOLERANCE).contains(wall), "{wall} is not between {before} and {after}");
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}
