//! QEMU as a child process: one owner, its own process group, dead when we are.

use std::io::{self, Read};
use std::os::fd::RawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::watch;

/// The most of QEMU's standard error that is kept, in bytes.
const STDERR_LIMIT: usize = 16 << 10;

/// A running or ended QEMU.
#[derive(Debug)]
pub(crate) struct Qemu {
    child: Arc<Mutex<Child>>,
    ended: watch::Receiver<Option<ExitStatus>>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Qemu {
    /// Starts `program`, with one more variable where there is one; it inherits the descriptors `fds` and nothing else,
    /// least of all our stdin, stdout and stderr.
    ///
    /// # Errors
    /// Those of starting a program.
    pub(crate) fn start(
        program: &str,
        args: &[String],
        variable: Option<(&str, &Path)>,
        fds: Vec<RawFd>,
    ) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.envs(variable);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let parent = std::process::id();
        // SAFETY: between fork and exec only system calls are made.
        unsafe {
            command.pre_exec(move || {
                die_with(parent)?;
                fds.iter().try_for_each(|&fd| inherit(fd))
            });
        }
        let mut child = spawn(command)?;
        let stderr = collect(child.stderr.take().expect("stderr is piped"));
        let pid = child.id();
        let child = Arc::new(Mutex::new(child));
        let ended = wait_in_background(pid, child.clone());
        Ok(Self { child, ended, stderr })
    }

    /// Kills it; harmless when it has ended.
    pub(crate) fn kill(&self) {
        let _ = lock(&self.child).kill();
    }

    /// Waits until it has ended and is reaped.
    pub(crate) async fn ended(&self) -> ExitStatus {
        let mut ended = self.ended.clone();
        let status = ended.wait_for(Option::is_some).await.ok().and_then(|status| *status);
        // The waiting thread sends before it ends; without it there is nothing left to wait for.
        status.unwrap_or_else(|| ExitStatus::from_raw(0))
    }

    /// How it ended, if it has.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// What it said on standard error so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&lock(&self.stderr)).trim_end().to_owned()
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.kill();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks for SIGKILL when the thread that spawned us ends, and checks that it has not ended before.
fn die_with(parent: u32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    // SAFETY: no memory is involved.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
            return Err(io::Error::last_os_error());
        }
        if libc::getppid() as u32 != parent {
            return Err(io::Error::other("the parent has ended"));
        }
    }
    Ok(())
}

/// Lets `fd` survive exec.
fn inherit(fd: RawFd) -> io::Result<()> {
    // SAFETY: no memory is involved.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A command to start, and where its child goes.
type Order = (Command, Sender<io::Result<Child>>);

/// Starts `command` from a thread that lives as long as the process: PR_SET_PDEATHSIG fires when the *thread* that
/// spawned ends, and callers may be on threads that come and go.
fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
        let (orders, queue) = channel::<Order>();
        thread::Builder::new()
            .name("lvh-spawner".to_owned())
            .spawn(move || {
                for (mut command, answer) in queue {
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("a process that runs can start a thread");
        Mutex::new(orders)
    });
    let (answer, child) = channel();
    lock(&SPAWNER).send((command, answer)).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}

fn collect(mut pipe: impl Read + Send + 'static) -> Arc<Mutex<Vec<u8>>> {
    let collected = Arc::new(Mutex::new(Vec::new()));
    let sink = collected.clone();
    thread::spawn(move || {
        let mut chunk = [0; 1024];
        while let Ok(len @ 1..) = pipe.read(&mut chunk) {
            let mut sink = lock(&sink);
            let room = STDERR_LIMIT - sink.len().min(STDERR_LIMIT);
            sink.extend_from_slice(&chunk[..len.min(room)]);
        }
    });
    collected
}

/// Waits without reaping, then reaps under the lock: a kill can never hit a process id that was given to another.
fn wait_in_background(pid: u32, child: Arc<Mutex<Child>>) -> watch::Receiver<Option<ExitStatus>> {
    let (sender, receiver) = watch::channel(None);
    thread::spawn(move || {
        // SAFETY: `info` outlives the call and is only written to.
        unsafe {
            let mut info = std::mem::zeroed::<libc::siginfo_t>();
            while libc::waitid(libc::P_PID, pid, &mut info, libc::WEXITED | libc::WNOWAIT) < 0
                && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
            {}
        }
        let status = lock(&child).wait().ok();
        sender.send_replace(status.or(Some(ExitStatus::from_raw(0))));
    });
    receiver
}
