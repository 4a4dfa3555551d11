//! One command: starting it, carrying its streams, ending it with all it started.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::agent::channel::Sender;
use crate::agent::host::Host;
use crate::agent::window::Window;
use crate::agent::{cores, terminal};
use crate::guest::protocol::{Command, Exit, MAX_CHUNK, REPORT_FD, Stream, TerminalSize, ToHost};
use crate::guest::wire::Bytes;
use crate::pid1::reaper;
use crate::sys;

/// How long output may still come after everything the command started was killed.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

/// The largest core, in bytes: it stands in guest memory, and travels over the channel.
const CORE_LIMIT: u64 = 256 << 20;

/// A running command as the message loop sees it.
pub struct Running {
    pid: i32,
    cgroup: Cgroup,
    stdin: Option<mpsc::Sender<Bytes>>,
    /// Our end of its terminal, where it has one.
    terminal: Option<File>,
}

impl Running {
    /// Starts `command`; its end is reported by a thread of its own, which calls `ended` first.
    pub fn start(
        id: u32,
        command: &Command,
        host: &Host,
        ended: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let cgroup = Cgroup::make(id);
        let mut pipes = Pipes::new(command)?;
        if command.core {
            cores::prepare();
        }
        let Host { sender, log, windows } = host;
        log.pass_on(sender);
        let (pid, exit) = reaper::watch(|| spawn(command, &cgroup, &mut pipes))?;
        sender.send(&ToHost::Started { id });
        let window = windows.open(id);
        let pumps = pipes.readers.drain(..).map(|(stream, pipe)| pump(id, stream, pipe, sender, &window)).collect();
        let stdin = pipes.stdin.take().map(|pipe| feed(id, pipe, sender));
        let supervisor =
            Supervisor { id, cgroup: cgroup.clone(), pid, pumps, window, host: host.clone() };
        thread::spawn(move || supervisor.run(&exit, ended));
        Ok(Self { pid, cgroup, stdin, terminal: pipes.terminal })
    }

    /// Sends a signal to the command's process group.
    pub fn signal(&self, signal: i32) {
        sys::send_signal(-self.pid, signal);
    }

    /// Whether the command's process is still there: one that has ended may wait for the host to take its output.
    pub fn is_alive(&self) -> bool {
        Path::new("/proc").join(self.pid.to_string()).exists()
    }

    /// Tells the command's terminal, where it has one, the size of its window.
    pub fn resize(&self, size: TerminalSize) {
        // A terminal that takes no size keeps the one it has.
        let _ = self.terminal.as_ref().map(|terminal| terminal::resize(terminal, size));
    }

    /// Kills the command and everything it started.
    pub fn kill(&self) {
        sys::send_signal(-self.pid, sys::SIGKILL);
        self.cgroup.kill();
    }

    /// Queues bytes for standard input; none closes it. The host keeps to the protocol's window.
    pub fn stdin(&mut self, data: Bytes) {
        if data.0.is_empty() {
            // A terminal has no end of file: its user types one.
            self.stdin = None;
        } else if let Some(stdin) = &self.stdin {
            // A command that closed its input does not want the rest.
            let _ = stdin.send(data);
        }
    }
}

/// The pipes of one command: the guest's ends, and the command's ends until it runs.
struct Pipes {
    stdin: Option<File>,
    readers: Vec<(Stream, File)>,
    terminal: Option<File>,
    child: Option<ChildEnds>,
}

struct ChildEnds {
    stdin: Stdio,
    stdout: OwnedFd,
    stderr: OwnedFd,
    report: Option<OwnedFd>,
}

impl Pipes {
    fn new(command: &Command) -> io::Result<Self> {
        let mut pipes = match command.terminal {
            Some(size) => Self::terminal(size)?,
            None => Self::streams(command)?,
        };
        if command.report {
            let (reader, writer) = pipe()?;
            pipes.readers.push((Stream::Report {}, reader));
            pipes.child.as_mut().expect("the command does not run yet").report = Some(writer);
        }
        Ok(pipes)
    }

    fn terminal(size: TerminalSize) -> io::Result<Self> {
        let (ours, theirs) = terminal::open(size)?;
        let child = ChildEnds {
            stdin: theirs.try_clone()?.into(),
            stdout: theirs.try_clone()?.into(),
            stderr: theirs.into(),
            report: None,
        };
        let (stdin, reader) = (ours.try_clone()?, ours.try_clone()?);
        let readers = vec![(Stream::Stdout {}, reader)];
        Ok(Self { stdin: Some(stdin), readers, terminal: Some(ours), child: Some(child) })
    }

    fn streams(command: &Command) -> io::Result<Self> {
        let (stdout_reader, stdout) = pipe()?;
        let mut readers = vec![(Stream::Stdout {}, stdout_reader)];
        let stderr = if command.merged {
            stdout.try_clone()?
        } else {
            let (reader, writer) = pipe()?;
            readers.push((Stream::Stderr {}, reader));
            writer
        };
        let (stdin, child_stdin) = if command.stdin {
            let (reader, writer) = pipe()?;
            (Some(File::from(writer)), Stdio::from(reader))
        } else {
            (None, Stdio::null())
        };
        let child = ChildEnds { stdin: child_stdin, stdout, stderr, report: None };
        Ok(Self { stdin, readers, terminal: None, child: Some(child) })
    }
}

/// A pipe: the end to read from, and the end to write to.
fn pipe() -> io::Result<(File, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    Ok((OwnedFd::from(reader).into(), writer.into()))
}

fn spawn(command: &Command, cgroup: &Cgroup, pipes: &mut Pipes) -> io::Result<i32> {
    let os = |bytes: &'_ Bytes| OsStr::from_bytes(&bytes.0).to_owned();
    let [program, arguments @ ..] = &command.argv[..] else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program"));
    };
    let ends = pipes.child.take().expect("a command is spawned once");
    let mut child = process::Command::new(os(program));
    child.args(arguments.iter().map(os)).env_clear().envs(command.env.iter().map(|(key, value)| (os(key), os(value))));
    child.current_dir(os(&command.cwd)).stdin(ends.stdin).stdout(ends.stdout).stderr(ends.stderr);
    let report: Option<RawFd> = ends.report.as_ref().map(AsRawFd::as_raw_fd);
    let procs = cgroup.open_procs();
    let (has_terminal, core) = (command.terminal.is_some(), command.core);
    // SAFETY: between fork and exec only system calls are made, on descriptors that the closure keeps open.
    unsafe {
        child.pre_exec(move || {
            if has_terminal {
                sys::new_session()?
            } else {
                sys::new_process_group()?
            }
            if core {
                sys::allow_core(CORE_LIMIT)?;
            }
            if let Some(mut procs) = procs.as_ref() {
                procs.write_all(b"0")?;
            }
            report.map_or(Ok(()), |fd| sys::place_fd(fd, REPORT_FD))
        });
    }
    // Dropping a `Child` neither kills nor waits: the reaper does.
    child.spawn().map(|child| child.id() as i32)
}

/// Waits for the command's end, ends what it left behind, and reports.
struct Supervisor {
    id: u32,
    cgroup: Cgroup,
    pid: i32,
    pumps: Vec<JoinHandle<()>>,
    window: Arc<Window>,
    host: Host,
}

impl Supervisor {
    fn run(self, exit: &Receiver<Exit>, ended: impl FnOnce()) {
        let exit = exit.recv().unwrap_or_else(|error| Exit::NotStarted { error: error.to_string() });
        if matches!(exit, Exit::Signal { core: true, .. }) {
            cores::name(self.pid);
        }
        sys::send_signal(-self.pid, sys::SIGKILL);
        self.cgroup.kill();
        join_by(self.pumps, &self.window);
        self.cgroup.remove();
        self.host.windows.close(self.id);
        self.host.log.pass_on(&self.host.sender);
        ended();
        self.host.sender.send(&ToHost::Exited { id: self.id, exit });
    }
}

/// Joins threads; one that is held up (a process in uninterruptible sleep keeps its pipe open) is left alone. Waiting for
/// the host to take output does not count.
fn join_by(threads: Vec<JoinHandle<()>>, window: &Window) {
    let mut deadline = Instant::now() + DRAIN_DEADLINE;
    let mut waiting = VecDeque::from(threads);
    while let Some(thread) = waiting.pop_front() {
        if window.is_full() {
            deadline = Instant::now() + DRAIN_DEADLINE;
        }
        if thread.is_finished() {
            let _ = thread.join();
        } else if Instant::now() < deadline {
            waiting.push_back(thread);
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Sends everything that comes out of `pipe`, at once where the window has room: a command's last words before it takes the
/// machine down are those that matter.
fn pump(id: u32, stream: Stream, mut pipe: File, sender: &Sender, window: &Arc<Window>) -> JoinHandle<()> {
    let (sender, window) = (sender.clone(), Arc::clone(window));
    thread::spawn(move || {
        sys::run_first();
        let mut chunk = vec![0; MAX_CHUNK];
        while let Ok(len @ 1..) = pipe.read(&mut chunk) {
            let output = ToHost::Output { id, stream: stream.clone(), data: Bytes(chunk[..len].to_vec()) };
            window.take(output.cost());
            sender.send(&output);
        }
    })
}

/// Writes queued bytes to `pipe` and tells the host what was taken.
fn feed(id: u32, mut pipe: File, sender: &Sender) -> mpsc::Sender<Bytes> {
    let sender = sender.clone();
    let (queue, bytes) = mpsc::channel::<Bytes>();
    thread::spawn(move || {
        for data in bytes {
            // After a failed write the rest is taken and dropped, so that the host does not wait for ever.
            let _ = pipe.write_all(&data.0);
            sender.send(&ToHost::Taken { id, bytes: data.0.len() as u32 });
        }
    });
    queue
}

/// The cgroup that holds a command and all it starts, however they detach; nothing where the kernel has no cgroup2.
#[derive(Clone)]
struct Cgroup {
    dir: PathBuf,
    /// The directory must not be removed under a kill.
    lock: Arc<Mutex<()>>,
}

impl Cgroup {
    fn make(id: u32) -> Self {
        let dir = Path::new("/sys/fs/cgroup").join(format!("lvh.{id}"));
        let _ = fs::create_dir(&dir);
        Self { dir, lock: Arc::default() }
    }

    fn open_procs(&self) -> Option<File> {
        File::options().write(true).open(self.dir.join("cgroup.procs")).ok()
    }

    fn kill(&self) {
        let _lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Before Linux 5.14 there is no cgroup.kill; sysfs files are never created by opening them.
        if File::options()
            .write(true)
            .open(self.dir.join("cgroup.kill"))
            .is_ok_and(|mut kill| kill.write_all(b"1").is_ok())
        {
            return;
        }
        for _ in 0..100 {
            let Ok(pids) = fs::read_to_string(self.dir.join("cgroup.procs")) else { return };
            let pids = pids.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>();
            if pids.is_empty() {
                return;
            }
            pids.into_iter().for_each(|pid| sys::send_signal(pid, sys::SIGKILL));
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Removes the directory; it may take a moment until the killed processes are gone.
    fn remove(&self) {
        let _lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..100 {
            match fs::remove_dir(&self.dir) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => thread::sleep(Duration::from_millis(1)),
                _ => return,
            }
        }
    }
}
