//! What a run may leave behind: processes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The variable by which all processes of a run are known, whoever their parent is.
const VARIABLE: &str = "TRACES_OF";

/// Longer than any process takes to die or to appear; waiting ends as soon as it does.
const DEADLINE: Duration = Duration::from_secs(60);

/// A name that all processes of one run carry. Dropped, it ends those that are left.
#[derive(Debug)]
pub struct Traces(String);

/// A process of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Its process id.
    pub pid: i32,
    /// Its command line, words apart by spaces.
    pub command_line: String,
}

impl Traces {
    /// Marks what `command` will start.
    pub fn mark(command: &mut Command) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        command.env(VARIABLE, &mark);
        Self(mark)
    }

    /// All processes of the run.
    pub fn processes(&self) -> Vec<Trace> {
        let entries = fs::read_dir("/proc").expect("this is Linux");
        entries.filter_map(|entry| self.process(&entry.ok()?.path())).collect()
    }

    fn process(&self, dir: &Path) -> Option<Trace> {
        let pid = dir.file_name()?.to_str()?.parse().ok()?;
        let mark = format!("{VARIABLE}={}", self.0);
        // Of a process that has ended but is not reaped nothing can be read: it is gone as far as we care.
        let environment = fs::read(dir.join("environ")).ok()?;
        let is_ours = environment.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes());
        let command_line = fs::read(dir.join("cmdline")).ok()?;
        let command_line = String::from_utf8_lossy(&command_line).replace('\0', " ");
        is_ours.then_some(Trace { pid, command_line })
    }

    /// The run's QEMU, as soon as it has one.
    ///
    /// # Panics
    /// If it has none in time.
    pub fn qemu(&self) -> Trace {
        let qemu = || self.processes().into_iter().find(|trace| trace.command_line.starts_with("qemu-system-"));
        poll(qemu).expect("the run starts a QEMU")
    }

    /// Waits until no process of the run is left.
    ///
    /// # Panics
    /// If some stay.
    #[track_caller]
    pub fn check_gone(&self) {
        self.check_gone_within(DEADLINE);
    }

    /// The same, where a run that is left alone would end too.
    ///
    /// # Panics
    /// If some stay.
    #[track_caller]
    pub fn check_gone_within(&self, deadline: Duration) {
        let gone = poll_for(deadline, || self.processes().is_empty().then_some(()));
        assert!(gone.is_some(), "still running: {:?}", self.processes());
    }
}

/// A test that fails over what stays must not leave it to the next one.
impl Drop for Traces {
    fn drop(&mut self) {
        for Trace { pid, .. } in self.processes() {
            // SAFETY: kill takes plain numbers.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

/// Processes come and go without telling those who did not start them: looks until there is an answer.
fn poll<T>(look: impl FnMut() -> Option<T>) -> Option<T> {
    poll_for(DEADLINE, look)
}

fn poll_for<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    while start.elapsed() < deadline {
        if let Some(answer) = look() {
            return Some(answer);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Sends a signal; a negative `pid` names a process group.
///
/// # Panics
/// If there is no such process.
#[track_caller]
pub fn send_signal(pid: i32, signal: i32) {
    // SAFETY: kill takes plain numbers.
    let result = unsafe { libc::kill(pid, signal) };
    assert_eq!(result, 0, "no process {pid}: {}", std::io::Error::last_os_error());
}
