//! Running a command and measuring the whole tree of its processes.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{mem, thread};

use crate::recipe::Recipe;

/// Longer than anything here takes on a slow and busy machine.
const DEADLINE: Duration = Duration::from_secs(1800);

/// How long what a command leaves behind may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// One run of a command.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// From the start of the command until its end, in seconds.
    pub(crate) wall: f64,
    /// User and system time of all its processes, in seconds.
    pub(crate) cpu: f64,
    /// The largest resident set that any one of its processes had, in MiB.
    pub(crate) peak_mib: f64,
}

/// Runs a command to its end; what it prints goes to `log`. The error is a line that says what went wrong.
pub(crate) fn run(recipe: &Recipe, log: &Path) -> Result<Sample, String> {
    let (sample, status) = execute(recipe, log).map_err(|error| format!("`{}`: {error}", recipe.program.display()))?;
    let said = fs::read(log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no output").trim();
    match (status.success(), said.contains(&recipe.expect)) {
        (true, true) => Ok(sample),
        (true, false) => Err(format!("did not print `{}`: {last}", recipe.expect)),
        (false, _) => Err(format!("{status}: {last}")),
    }
}

fn execute(recipe: &Recipe, log: &Path) -> io::Result<(Sample, ExitStatus)> {
    adopt_orphans();
    let output = File::create(log)?;
    let mut command = recipe.command();
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
    let start = Instant::now();
    let child = command.spawn()?.id() as i32;
    let (done, waiting) = channel::<()>();
    let watchdog = thread::spawn(move || kill_late(child, &waiting));
    let mut usage = Usage::default();
    let status = loop {
        let (pid, status) = usage.wait(0)?;
        if pid == child {
            break status;
        }
    };
    let wall = start.elapsed().as_secs_f64();
    drop(done);
    watchdog.join().expect("the watchdog only waits and kills");
    usage.wait_for_the_rest(child)?;
    Ok((Sample { wall, cpu: usage.cpu, peak_mib: usage.peak_mib }, status))
}

/// Makes processes whose parent has ended ours, so that their time is counted and none is left behind.
fn adopt_orphans() {
    // SAFETY: no memory is involved.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

fn kill_late(child: i32, done: &Receiver<()>) {
    if done.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout) {
        kill(-child);
    }
}

fn kill(pid: i32) {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// What the processes that were waited for have used, with those that they waited for.
#[derive(Debug, Default)]
struct Usage {
    cpu: f64,
    peak_mib: f64,
}

impl Usage {
    /// Waits for any child; `flags` as of wait4(2). The process is 0 where none has ended.
    fn wait(&mut self, flags: i32) -> io::Result<(i32, ExitStatus)> {
        let mut status = 0;
        // SAFETY: all zeroes is a valid rusage.
        let mut used: libc::rusage = unsafe { mem::zeroed() };
        // SAFETY: both pointers are to live variables.
        let pid = unsafe { libc::wait4(-1, &raw mut status, flags, &raw mut used) };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if pid > 0 {
            let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
            self.cpu += seconds(used.ru_utime) + seconds(used.ru_stime);
            self.peak_mib = self.peak_mib.max(used.ru_maxrss as f64 / 1024.0);
        }
        Ok((pid, ExitStatus::from_raw(status)))
    }

    /// Waits for what the command `child` left, and ends what does not end by itself.
    fn wait_for_the_rest(&mut self, child: i32) -> io::Result<()> {
        kill(-child);
        let start = Instant::now();
        loop {
            match self.wait(libc::WNOHANG) {
                Ok((0, _)) => thread::sleep(Duration::from_millis(5)),
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(()),
                Err(error) => return Err(error),
            }
            if start.elapsed() > GRACE {
                children().into_iter().for_each(kill);
            }
        }
    }
}

/// Our children, those adopted included: they hang at whichever of our threads Linux chose.
fn children() -> Vec<i32> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Recipe {
        Recipe::new("sh", "/").args(["-c", script]).expecting("said")
    }

    fn measure(script: &str) -> Result<Sample, String> {
        let log = tempfile::NamedTempFile::new().unwrap();
        run(&shell(script), log.path())
    }

    /// One test, for it waits for every child of this process.
    #[test]
    fn a_tree_of_processes_is_measured_whole() {
        let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let sample = measure(&format!("sh -c '{busy}' & wait; echo said")).unwrap();
        assert!(sample.cpu > 0.02 && sample.wall > 0.02 && sample.peak_mib > 0.5, "{sample:?}");

        let start = Instant::now();
        let left = measure("setsid sleep 1000 & echo said").unwrap();
        assert!(left.wall < 2.0 && start.elapsed() < Duration::from_secs(60), "{left:?}");
        assert!(children().is_empty(), "{:?}", children());

        assert_eq!(measure("echo other").unwrap_err(), "did not print `said`: other");
        assert_eq!(measure("echo said; exit 3").unwrap_err(), "exit status: 3: said");
    }
}
