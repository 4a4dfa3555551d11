//! Programs of the host that do part of the work: found, run to their end under a deadline, and never left behind.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Child, Start};
use crate::machine::with_hint;
use crate::{Error, ErrorKind, Result};

/// How often who waits for a program is told that it still runs.
const TICK: Duration = Duration::from_millis(50);
/// How long a pipe may stay open after the program: only a process that left its group can hold it.
const PIPE_GRACE: Duration = Duration::from_millis(500);

/// One call of a program.
#[derive(Debug)]
pub(crate) struct Tool {
    name: String,
    /// What errors call the call, instead of its name and verb.
    called: Option<String>,
    command: Command,
    /// The exit code of a call that went well.
    success: i32,
    deadline: Duration,
    /// How long it may take to clean up after itself when it has to end early.
    grace: Duration,
    /// Where its output goes instead of to us.
    log: Option<File>,
    input: Option<File>,
    inherited: Vec<RawFd>,
    /// Where it is set, it ends early.
    stop: Arc<AtomicBool>,
}

/// Finds the program `name` in `PATH` and where only root's `PATH` leads.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}

impl Tool {
    /// Prepares a call of `name`, which Debian's `package` brings.
    pub(crate) fn new(name: &str, package: &str) -> Result<Self> {
        let program = find(name).ok_or_else(|| {
            Error::new(ErrorKind::Missing, format!("`{name}` was not found in PATH"))
                .with_hint(format!("apt install {package}"))
        })?;
        Ok(Self { name: name.to_owned(), ..Self::at(&program) })
    }

    /// Prepares a call of the program file `program`.
    pub(crate) fn at(program: &Path) -> Self {
        let mut command = Command::new(program);
        // Messages are searched for known words, so they must not be translated.
        command.env("LC_ALL", "C");
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (deadline, grace) = (Duration::from_secs(30 * 60), Duration::ZERO);
        Self {
            name,
            called: None,
            command,
            success: 0,
            deadline,
            grace,
            log: None,
            input: None,
            inherited: Vec::new(),
            stop: Arc::default(),
        }
    }

    pub(crate) fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &Path) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the variable `name`; as [`Tool::env`], of any text.
    pub(crate) fn var(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Takes variables away that it would inherit.
    pub(crate) fn without_vars(mut self, names: &[&str]) -> Self {
        for name in names {
            self.command.env_remove(name);
        }
        self
    }

    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// The call goes well where the program ends with `code`, which is 0 unless it is set here.
    pub(crate) fn success(self, code: i32) -> Self {
        Self { success: code, ..self }
    }

    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// It ends what it started and cleans up when it gets a SIGTERM: it has `grace` for that, also when we die.
    pub(crate) fn cleans_up(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Both of its outputs are appended to `log`; errors then hold no output.
    pub(crate) fn log(self, log: File) -> Self {
        Self { log: Some(log), ..self }
    }

    /// It reads `input` as its standard input, which else is empty.
    pub(crate) fn input(self, input: File) -> Self {
        Self { input: Some(input), ..self }
    }

    /// It is ended as soon as `stop` is set.
    pub(crate) fn stop_on(self, stop: &Arc<AtomicBool>) -> Self {
        Self { stop: stop.clone(), ..self }
    }

    /// It and all that it starts keep the descriptor open, such as that of a lock, which then lasts as long as they do.
    /// `fd` must stay open until the program was started.
    pub(crate) fn inherit(mut self, fd: &impl AsFd) -> Self {
        self.inherited.push(fd.as_fd().as_raw_fd());
        self
    }

    /// Runs it to its end and returns its standard output.
    pub(crate) fn run(self) -> Result<String> {
        self.run_with(&mut || {})
    }

    /// As [`Tool::run`]; calls `tick` a few times a second meanwhile.
    pub(crate) fn run_with(self, tick: &mut dyn FnMut()) -> Result<String> {
        self.run_watching(&mut |_| tick())
    }

    /// As [`Tool::run`]; shows `watch` what came out of its standard error so far, a few times a second.
    pub(crate) fn run_watching(self, watch: &mut dyn FnMut(&dyn Fn() -> String)) -> Result<String> {
        let call = self.call();
        let Self { name, called: _, command, success, deadline, grace, log, input, inherited, stop } = self;
        let child = spawn(command, log, input, inherited, !grace.is_zero())
            .map_err(|e| with_hint(Error::new(ErrorKind::Io, format!("failed to start `{name}`")), e))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let mut tick = || watch(&|| text(child.output_so_far(1)));
        let status = end_of(&child, deadline, grace, &stop, &mut tick)
            .map_err(|e| Error::io(format_args!("wait for `{name}`"), e))?;
        let [stdout, stderr] = [0, 1].map(|pipe| text(child.output(pipe, PIPE_GRACE)));
        match status {
            Some(status) if status.code() == Some(success) => Ok(stdout),
            Some(status) => Err(call_failure(&call, &ended(status), stdout, stderr)),
            None if stop.load(Ordering::Relaxed) => Err(call_failure(&call, "was stopped", stdout, stderr)),
            None => Err(call_failure(&call, &format!("timed out after {}s", deadline.as_secs()), stdout, stderr)),
        }
    }

    /// Errors call it so: its words are long.
    pub(crate) fn called(self, called: &str) -> Self {
        Self { called: Some(called.to_owned()), ..self }
    }

    /// Its name and its verb.
    fn call(&self) -> String {
        if let Some(called) = &self.called {
            return called.clone();
        }
        let verb = self.command.get_args().find_map(|arg| arg.to_str().filter(|arg| !arg.starts_with('-')));
        format!("{} {}", self.name, verb.unwrap_or_default()).trim_end().to_owned()
    }
}

fn spawn(
    mut command: Command,
    log: Option<File>,
    input: Option<File>,
    inherited: Vec<RawFd>,
    cleans_up: bool,
) -> io::Result<Child> {
    let ((stdout, to_stdout), (stderr, to_stderr)) = (io::pipe()?, io::pipe()?);
    match log {
        None => command.stdout(to_stdout).stderr(to_stderr),
        // The pipes close at once: nothing comes out of them.
        Some(log) => command.stdout(log.try_clone()?).stderr(log),
    };
    let start = Start::new(command).collect(stdout, usize::MAX).collect(stderr, usize::MAX).inherit(inherited);
    let start = input.into_iter().fold(start, Start::input);
    if cleans_up { start.cleans_up() } else { start }.spawn()
}

/// The error of a call that did not go well.
pub(crate) fn call_failure(call: &str, how: &str, stdout: String, stderr: String) -> Error {
    let output = if stderr.trim().is_empty() { stdout } else { stderr };
    Error::new(ErrorKind::Artifact, format!("`{call}` {how}")).with_output(output)
}

/// In words.
pub(crate) fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Waits for the end of the child; `None` if it had to be ended, after `deadline` or for `stop`.
fn end_of(
    child: &Child,
    deadline: Duration,
    grace: Duration,
    stop: &AtomicBool,
    tick: &mut dyn FnMut(),
) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    while start.elapsed() <= deadline && !stop.load(Ordering::Relaxed) {
        if let Some(status) = child.wait(TICK)? {
            return Ok(Some(status));
        }
        tick();
    }
    child.end(grace).map(|_killed| None)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    fn sh(script: &str) -> Tool {
        Tool::new("sh", "dash").unwrap().args(["-c", script])
    }

    #[test]
    fn output_and_failures_are_reported() {
        assert_eq!(sh("echo out; echo err >&2").run().unwrap(), "out\n");
        let error = sh("echo why >&2; exit 3").run().unwrap_err();
        assert!(error.to_string().ends_with("ended with exit code 3"), "{error}");
        assert!(error.report().contains("why"), "{}", error.report());
        assert_eq!(sh("echo out; exit 3").success(3).run().unwrap(), "out\n");
        assert!(sh("true").success(3).run().is_err());
    }

    #[test]
    fn a_missing_tool_names_its_package() {
        let error = Tool::new("no-such-tool", "its-package").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Missing);
        assert_eq!(error.hint(), Some("apt install its-package"));
    }

    #[test]
    fn what_a_tool_leaves_behind_is_ended() {
        let start = Instant::now();
        assert_eq!(sh("sleep 60 & echo done").run().unwrap(), "done\n");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn output_is_shown_while_it_runs() {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = String::new();
        let mut watch = |stderr: &dyn Fn() -> String| {
            seen = stderr();
            if !seen.is_empty() {
                std::fs::write(dir.path().join("seen"), "").unwrap();
            }
        };
        sh("echo half >&2; until test -e seen; do sleep 0.01; done").dir(dir.path()).run_watching(&mut watch).unwrap();
        assert_eq!(seen, "half\n");
    }

    #[test]
    fn output_goes_to_a_log() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = sh("echo out; echo err >&2; exit 1").log(file.reopen().unwrap()).run().unwrap_err();
        assert_eq!(error.output(), Some(""));
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "out\nerr\n");
    }

    #[test]
    fn input_is_read_and_a_stop_is_heeded() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"in\n").unwrap();
        file.rewind().unwrap();
        assert_eq!(sh("cat").input(file).run().unwrap(), "in\n");
        let stop = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let mut ticks = 0;
        let error = sh("sleep 60").stop_on(&stop).run_with(&mut || {
            ticks += 1;
            stop.store(ticks > 1, Ordering::Relaxed);
        });
        assert_eq!(error.unwrap_err().to_string(), "`sh sleep 60` was stopped");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn what_cleans_up_has_time_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let script = "trap 'touch cleaned; exit' TERM; touch ready; while :; do sleep 0.05; done";
        let stop = Arc::new(AtomicBool::new(false));
        let tool = sh(script).dir(dir.path()).cleans_up(Duration::from_secs(60)).stop_on(&stop);
        let mut tick = || stop.store(dir.path().join("ready").exists(), Ordering::Relaxed);
        assert!(tool.run_with(&mut tick).unwrap_err().to_string().ends_with("was stopped"));
        assert!(dir.path().join("cleaned").exists());
    }

    #[test]
    fn the_deadline_ends_the_whole_group() {
        let start = Instant::now();
        let error = sh("sleep 60 & sleep 60").deadline(Duration::from_millis(200)).run().unwrap_err();
        assert!(error.to_string().contains("timed out"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
