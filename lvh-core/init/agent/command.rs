//! One command: starting it, ending it with all it started.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::agent::cgroup::Cgroup;
use crate::agent::host::Host;
use crate::agent::pipes::{self, Pipes, feed, pump};
use crate::agent::stacks;
use crate::agent::window::Window;
use crate::guest::protocol::{CORE, CORES, Command, Exit, REPORT_FD, STACKS_SIGNAL, TerminalSize, ToHost};
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
    /// None where it lasts: then it stays with the processes of the agent's service.
    cgroup: Option<Cgroup>,
    stdin: Option<mpsc::Sender<Bytes>>,
    /// Our end of its terminal, where it has one.
    terminal: Option<File>,
}

impl Running {
    /// Starts `command`; its end is reported by a thread of its own, which calls `ended` first.
    pub fn start(id: u32, command: &Command, host: &Host, ended: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let cgroup = (!command.lasts).then(|| Cgroup::make(id));
        let mut pipes = Pipes::new(command)?;
        if command.core {
            prepare_cores();
        }
        let Host { sender, log, windows, machine } = host;
        if command.changes {
            machine.remember();
        }
        log.pass_on(sender);
        let (pid, exit) = reaper::watch(|| spawn(command, cgroup.as_ref(), &mut pipes))?;
        sender.send(&ToHost::Started { id });
        let window = windows.open(id);
        let pumps = pipes.readers.drain(..).map(|(stream, pipe)| pump(id, stream, pipe, host, &window)).collect();
        let stdin = pipes.stdin.take().map(|pipe| feed(id, pipe, sender));
        let supervisor =
            Supervisor { id, cgroup: cgroup.clone(), pid, pumps, window, host: host.clone(), changes: command.changes };
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
        let _ = self.terminal.as_ref().map(|terminal| pipes::resize(terminal, size));
    }

    /// Where its threads are, and those of all that it started.
    pub fn stacks(&self) -> Vec<String> {
        let processes = self.cgroup.as_ref().map_or_else(Vec::new, Cgroup::processes);
        stacks::of(if processes.is_empty() { vec![self.pid] } else { processes }, self.pid)
    }

    /// Has the command itself tell where its threads are, if it can: whether it was asked.
    pub fn ask_for_stacks(&self) -> bool {
        let asked = stacks::has_handler(self.pid, STACKS_SIGNAL);
        if asked {
            sys::send_signal(self.pid, STACKS_SIGNAL);
        }
        asked
    }

    /// Kills the command and everything it started.
    pub fn kill(&self) {
        sys::send_signal(-self.pid, sys::SIGKILL);
        self.cgroup.iter().for_each(Cgroup::kill);
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

fn spawn(command: &Command, cgroup: Option<&Cgroup>, pipes: &mut Pipes) -> io::Result<i32> {
    let os = |bytes: &'_ Bytes| OsStr::from_bytes(&bytes.0).to_owned();
    let [program, arguments @ ..] = &command.argv[..] else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program"));
    };
    let ends = pipes.child.take().expect("a command is spawned once");
    let mut child = process::Command::new(os(program));
    child.args(arguments.iter().map(os)).env_clear().envs(command.env.iter().map(|(key, value)| (os(key), os(value))));
    child.current_dir(os(&command.cwd)).stdin(ends.stdin).stdout(ends.stdout).stderr(ends.stderr);
    let report: Option<RawFd> = ends.report.as_ref().map(AsRawFd::as_raw_fd);
    let procs = cgroup.and_then(Cgroup::open_procs);
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
    /// None where what it left behind goes on.
    cgroup: Option<Cgroup>,
    pid: i32,
    pumps: Vec<JoinHandle<()>>,
    window: Arc<Window>,
    host: Host,
    /// The host wants to know what it changed.
    changes: bool,
}

impl Supervisor {
    fn run(self, exit: &Receiver<Exit>, ended: impl FnOnce()) {
        let exit = exit.recv().unwrap_or_else(|error| Exit::NotStarted { error: error.to_string() });
        if matches!(exit, Exit::Signal { core: true, .. }) {
            name_core(self.pid);
        }
        if let Some(cgroup) = &self.cgroup {
            sys::send_signal(-self.pid, sys::SIGKILL);
            cgroup.kill();
        }
        join_by(self.pumps, &self.window);
        self.cgroup.iter().for_each(Cgroup::remove);
        self.host.windows.close(self.id);
        if self.changes {
            let changes = self.host.machine.changes();
            self.host.sender.send(&ToHost::Changed { id: self.id, changes });
        }
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

/// Makes an empty place for cores, and has the kernel leave them there. That it cannot is no failure: there will be none.
fn prepare_cores() {
    let _ = try_prepare_cores();
}

fn try_prepare_cores() -> io::Result<()> {
    let _ = fs::remove_dir_all(CORES);
    fs::create_dir(CORES)?;
    // A command may give up root before it crashes.
    fs::set_permissions(CORES, fs::Permissions::from_mode(0o1777))?;
    // The process id as the first namespace has it: commands may make others.
    fs::write("/proc/sys/kernel/core_pattern", format!("{CORES}/{CORE}.%P"))
}

/// Gives the core of the ended command `pid` its name.
fn name_core(pid: i32) {
    let dir = Path::new(CORES);
    // There may be none: the core was over its limit, or the disk full.
    let _ = fs::rename(dir.join(format!("{CORE}.{pid}")), dir.join(CORE));
}
