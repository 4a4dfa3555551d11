//! Waiting for systemd, where it is the first process.

use std::io;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::guest::protocol::{Failure, MAX_WRITE, Part};
use crate::pid1::handover::ENVIRONMENT;
use crate::sys;

/// How long to wait where systemd takes no questions yet.
const INTERVAL: Duration = Duration::from_millis(200);

/// How long it may take to say what is wrong.
const EXPLANATION: Duration = Duration::from_secs(10);

/// The most that is told of that, in bytes.
const LONGEST: usize = MAX_WRITE;

/// Waits until systemd has started all that it is to start.
pub fn wait_until_up(limit: Duration) -> Result<(), Failure> {
    let (begin, mut last) = (Instant::now(), String::new());
    loop {
        let Some(left) = limit.checked_sub(begin.elapsed()) else { return Err(late(limit, &last)) };
        // It waits itself, as soon as it is heard.
        last = match said(&["is-system-running", "--wait"], left) {
            Ok(said) => said,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(late(limit, "it is still starting")),
            Err(error) => return Err(failure(Part::Start {}, format!("failed to run `systemctl`: {error}"), "")),
        };
        match last.as_str() {
            "running" => return Ok(()),
            "degraded" => return Err(degraded()),
            "maintenance" | "stopping" => {
                return Err(failure(Part::Unit {}, format!("systemd of the image did not start: it is {last}"), ""));
            }
            _ => thread::sleep(INTERVAL),
        }
    }
}

/// Whether it counts the kernel as too old: one of the reasons for which it calls a machine tainted (org.freedesktop.systemd1(5)).
pub fn finds_kernel_old() -> bool {
    explained(&["show", "--property=Tainted", "--value"]).split(':').any(|taint| taint == "old-kernel")
}

/// What `systemctl` says, as long as it does so in time.
fn said(arguments: &[&str], limit: Duration) -> io::Result<String> {
    let mut systemctl = Command::new("systemctl");
    systemctl.args(arguments).env_clear().envs(ENVIRONMENT).stdin(Stdio::null());
    let child = systemctl.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (pid, (done, waits)) = (child.id() as i32, mpsc::channel::<()>());
    let watch = thread::spawn(move || {
        let late = waits.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if late {
            sys::send_signal(pid, sys::SIGKILL);
        }
        late
    });
    let Output { stdout, stderr, .. } = child.wait_with_output()?;
    drop(done);
    match watch.join() {
        Ok(true) => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(String::from_utf8_lossy(if stdout.is_empty() { &stderr } else { &stdout }).trim().to_owned()),
    }
}

fn degraded() -> Failure {
    let listed = explained(&["list-units", "--failed", "--plain", "--no-legend", "--no-pager"]);
    let units: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let message = format!("units of the image's systemd failed: {}", units.join(", "));
    failure(Part::Unit {}, message, &explained(&[&["status", "--no-pager", "--full"], &units[..]].concat()))
}

fn late(limit: Duration, last: &str) -> Failure {
    let message = format!("timed out after {}s waiting for the image's systemd: {last}", limit.as_secs());
    failure(Part::Start {}, message, &explained(&["list-jobs", "--no-pager"]))
}

fn explained(arguments: &[&str]) -> String {
    said(arguments, EXPLANATION).unwrap_or_default()
}

/// With the end of what is said.
fn failure(part: Part, message: String, output: &str) -> Failure {
    let start = (output.len().saturating_sub(LONGEST)..).find(|&at| output.is_char_boundary(at)).unwrap_or_default();
    Failure { part, message, output: output[start..].to_owned() }
}
