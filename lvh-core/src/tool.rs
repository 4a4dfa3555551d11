//! Programs of the host that do part of the work: found, run to their end under a deadline, and never left behind.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crate::{Error, ErrorKind, Result};

/// One call of a program.
#[derive(Debug)]
pub(crate) struct Tool {
    name: String,
    command: Command,
    /// The exit code of a call that went well.
    success: i32,
    deadline: Duration,
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
        command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, command, success: 0, deadline: Duration::from_secs(30 * 60) }
    }

    pub(crate) fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &Path) -> Self {
        self.command.env(name, value);
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

    /// Runs it to its end and returns its standard output.
    pub(crate) fn run(self) -> Result<String> {
        self.run_with(&mut || {})
    }

    /// As [`Tool::run`]; calls `tick` a few times a second meanwhile.
    pub(crate) fn run_with(mut self, tick: &mut dyn FnMut()) -> Result<String> {
        die_with_parent(&mut self.command);
        let child = self.command.spawn().map_err(|e| Error::io(format_args!("start `{}`", self.name), e))?;
        let mut child = Running(child);
        let (stdout, stderr) = (drain(child.0.stdout.take()), drain(child.0.stderr.take()));
        let status = child.wait(self.deadline, tick);
        // A timed-out child is dead by now, and with it whatever held the other ends of the pipes.
        drop(child);
        let (stdout, stderr) = (collect(stdout), collect(stderr));
        match status.map_err(|e| Error::io(format_args!("wait for `{}`", self.name), e))? {
            Some(status) if status.code() == Some(self.success) => Ok(stdout),
            Some(status) => Err(self.failure(&ended(status), stdout, stderr)),
            None => Err(self.failure(&format!("timed out after {}s", self.deadline.as_secs()), stdout, stderr)),
        }
    }

    fn failure(&self, how: &str, stdout: String, stderr: String) -> Error {
        let verb = self.command.get_args().find_map(|arg| arg.to_str().filter(|arg| !arg.starts_with('-')));
        let call = format!("{} {}", self.name, verb.unwrap_or_default());
        let output = if stderr.trim().is_empty() { stdout } else { stderr };
        Error::new(ErrorKind::Artifact, format!("`{}` {how}", call.trim_end())).with_output(output)
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

type Drain = Option<thread::JoinHandle<Vec<u8>>>;

fn drain(pipe: Option<impl Read + Send + 'static>) -> Drain {
    pipe.map(|mut pipe| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What came before a read error is worth more than the error.
            let _ = pipe.read_to_end(&mut bytes);
            bytes
        })
    })
}

fn collect(drain: Drain) -> String {
    let bytes = drain.and_then(|reader| reader.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A child with its process group; both are gone when this is dropped.
struct Running(Child);

impl Running {
    /// Waits for the end of the child, then ends what it left in its group; `None` after `deadline`.
    fn wait(&mut self, deadline: Duration, tick: &mut dyn FnMut()) -> io::Result<Option<ExitStatus>> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        while !self.has_ended()? {
            if start.elapsed() > deadline {
                return Ok(None);
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
            tick();
        }
        self.kill_group();
        self.0.wait().map(Some)
    }

    /// Whether the child has ended. It is not reaped, so its id cannot become another process's yet.
    fn has_ended(&self) -> io::Result<bool> {
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: all-zero bytes are a valid siginfo_t, and waitid writes to nothing else.
        let (result, info) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            (libc::waitid(libc::P_PID, self.0.id(), &raw mut info, flags), info)
        };
        if result != 0 { Err(io::Error::last_os_error()) } else { Ok(info.si_signo != 0) }
    }

    fn kill_group(&self) {
        let group = i32::try_from(self.0.id()).expect("process ids are positive i32");
        // SAFETY: plain system call; the child leads this group and is not reaped, so the id is still its own.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Err: reaped already.
        if self.has_ended().is_ok() {
            self.kill_group();
            let _ = self.0.wait();
        }
    }
}

/// Puts the child into a process group of its own and has the kernel kill it when the calling thread ends; that thread
/// waits for the child, so it ends early only with the whole process.
fn die_with_parent(command: &mut Command) {
    command.process_group(0);
    #[cfg(target_os = "linux")]
    {
        let parent = std::process::id();
        let arm = move || {
            // SAFETY: prctl and getppid are async-signal-safe and take no pointers here.
            let orphaned = unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0
                    || u32::try_from(libc::getppid()).ok() != Some(parent)
            };
            if orphaned { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(()) }
        };
        // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
        unsafe { command.pre_exec(arm) };
    }
}

#[cfg(test)]
mod tests {
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
    fn the_deadline_ends_the_whole_group() {
        let start = Instant::now();
        let error = sh("sleep 60 & sleep 60").deadline(Duration::from_millis(200)).run().unwrap_err();
        assert!(error.to_string().contains("timed out"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
