//! A machine: namespaces of its own, a network to this one, a home, and a checkout without sources.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::network::Network;

/// Holds the namespaces: over each of `$@` is an empty directory. It ends with the process that started it.
const HOLD: &str = r#"for dir; do mount -t tmpfs none "$dir"; done; ip link set lo up; echo; exec cat"#;
/// Runs what is behind the directory in it.
const IN_DIRECTORY: &str = r#"cd "$1" && shift && exec "$@""#;

/// A machine; dropped, its namespaces are gone.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) dir: PathBuf,
    pub(crate) address: IpAddr,
    holder: Child,
    variables: Vec<(String, String)>,
}

/// What a command left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) time: Duration,
    /// Of all processes that it waited for, and they in turn.
    pub(crate) cpu: Duration,
}

impl Machine {
    /// One in `dir`, for which `hidden` is empty, with these programs in front of the system's.
    pub(crate) fn new(network: &Network, dir: &Path, hidden: &[PathBuf], programs: &Path) -> Self {
        for name in ["home", "temporary", "project/tests"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        fs::write(dir.join("project/Cargo.toml"), "").unwrap();
        let mut holder = Command::new("unshare");
        holder.args(["--net", "--mount", "sh", "-ec", HOLD, "sh"]).args(hidden);
        let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        holder.stdout.as_mut().unwrap().read_exact(&mut [0]).expect("the namespaces are made");
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display());
        let own = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let variables = [("PATH", path), ("HOME", own("home")), ("TMPDIR", own("temporary"))];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Self { dir: dir.to_owned(), address: network.connect(holder.id()), holder, variables }
    }

    /// Sets a variable of all commands.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.dir.join("project")
    }

    /// Where its results are.
    pub(crate) fn results(&self) -> PathBuf {
        self.project().join("target")
    }

    /// A command in the project. When it is killed, all that it started is.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--net", "--mount", "--"]);
        command.args(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", IN_DIRECTORY, "sh"]);
        command.arg(self.project()).arg(program).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, command: &mut Command) -> Ran {
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| self.dir.join(name));
        let began = Instant::now();
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        let (status, cpu) = waited_for(command.spawn().unwrap());
        let [stdout, stderr] = [stdout, stderr].map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into());
        Ran { code: status.code(), stdout, stderr, time: began.elapsed(), cpu }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s, {:.1} s of CPU", self.time.as_secs_f64(), self.cpu.as_secs_f64())
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// How the process ended, and what CPU time it and its own took.
fn waited_for(child: Child) -> (ExitStatus, Duration) {
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: a child of ours that nobody waits for, and room for both answers.
    let waited = unsafe { libc::wait4(child.id() as i32, &raw mut status, 0, usage.as_mut_ptr()) };
    assert_eq!(waited, child.id() as i32);
    // SAFETY: zeroes are numbers, and so is what wait4 wrote.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    (ExitStatus::from_raw(status), time(usage.ru_utime) + time(usage.ru_stime))
}
