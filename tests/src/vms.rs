//! Runs whose tests take as long as it takes to start so many VMs.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::Finished;

/// Names the file that the tests of a run wait for.
const VARIABLE: &str = "LVH_TEST_GO_ON";

/// Longer than any machine takes to start two VMs, the second when tests have waited four times as long for the first.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs `command` to its end. Its tests that [`wait_for_vms`] go on as soon as `count` VMs were ready; where so many do not come
/// in time, too, so that the run ends.
///
/// # Panics
/// If it does not start.
pub fn finished_with_vms(command: &mut Command, count: usize) -> Finished {
    // There guests are told of new files.
    let go_on = Path::new(command.get_program()).with_extension(format!("with-{count}-vms"));
    let _ = fs::remove_file(&go_on);
    command.env(VARIABLE, &go_on).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let lines = lines(child.stderr.take().expect("it is piped"));
    let (deadline, mut stderr) = (Instant::now() + LIMIT, String::new());
    while stderr.matches(" ready in ").count() < count
        && let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        stderr.push_str(&line);
    }
    fs::write(&go_on, "").expect("the program's directory can be written to");
    let output = child.wait_with_output().expect("it is our child");
    stderr.extend(lines);
    let _ = fs::remove_file(go_on);
    Finished { code: output.status.code(), stdout: String::from_utf8_lossy(&output.stdout).into_owned(), stderr }
}

/// The lines of a stream as they come, each with its end.
fn lines(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).is_ok_and(|len| len > 0) && sender.send(std::mem::take(&mut line)).is_ok() {}
    });
    receiver
}

/// Returns when there are as many VMs as [`finished_with_vms`] waits for; at once in any other run.
pub fn wait_for_vms() {
    let Some(go_on) = env::var_os(VARIABLE) else { return };
    while !Path::new(&go_on).exists() {
        thread::sleep(Duration::from_millis(50));
    }
}
