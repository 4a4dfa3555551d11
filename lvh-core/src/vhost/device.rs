//! What all our devices share: the socket to QEMU, the thread, and how it ends.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::frontend::FrontEnd;
use super::memory::Memory;
use super::queue::Queue;
use crate::machine::no_thread;
use crate::{Error, ErrorKind, Result};

/// How long the end of a device waits for its thread, which needs a few milliseconds once QEMU is gone.
const GRACE: Duration = Duration::from_secs(2);

/// How many fair shares of work are done before a queue stops.
const LAST_SHARES: usize = 16;

/// What differs between our devices.
pub(super) trait Handler: Send + 'static {
    /// The name of its thread.
    const NAME: &str;
    /// How many queues it has.
    const QUEUES: usize;
    /// The longest queue that it takes.
    const QUEUE_SIZE: u16;

    /// The device's configuration space; empty where QEMU knows all of it.
    fn config(&self) -> Vec<u8>;

    /// A descriptor that calls [`Handler::work`] whenever it is readable, beside the queues.
    fn wake(&self) -> Option<BorrowedFd<'_>>;

    /// Does what there is to do in all queues, up to a fair share. `true`: there may be more, call again.
    fn work(&mut self, memory: &Memory, queues: &mut [Queue]) -> bool;
}

/// A device served by a thread of this process: QEMU's end of its socket, and the thread behind the other end.
///
/// The thread ends when the last copy of that socket is closed, so close yours once QEMU runs. Dropping the device
/// waits for it shortly.
#[must_use = "a dropped device serves nobody"]
#[derive(Debug)]
pub(crate) struct Device {
    socket: Option<OwnedFd>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Device {
    /// QEMU's end of the socket: pass it on as an inherited descriptor and close it after the spawn.
    ///
    /// # Panics
    ///
    /// If it was taken before.
    pub(crate) fn take_socket(&mut self) -> OwnedFd {
        self.socket.take().expect("the socket of a device is taken once")
    }

    /// Waits until the thread has ended, for at most two seconds; QEMU should be gone by now.
    ///
    /// # Errors
    ///
    /// If QEMU broke the protocol, or if the thread is still busy: it then ends on its own with QEMU.
    #[cfg(test)]
    pub(super) fn join(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        drop(self.socket.take());
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let deadline = Instant::now() + GRACE;
        while !thread.is_finished() {
            if Instant::now() > deadline {
                return Err(Error::new(ErrorKind::Io, format!("a vhost-user device is still in use after {GRACE:?}")));
            }
            thread::sleep(Duration::from_millis(2));
        }
        thread.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "the thread of a vhost-user device panicked")))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.end();
    }
}

/// Starts the thread of a device.
pub(super) fn serve<H: Handler>(handler: H) -> Result<Device> {
    let (ours, socket) = UnixStream::pair().map_err(|e| Error::io("make a vhost-user socket", e))?;
    let front_end = FrontEnd::new(ours, handler.config(), H::QUEUES, H::QUEUE_SIZE);
    let failed = |e| Error::new(ErrorKind::Io, format!("vhost-user device `{}`: {e}", H::NAME));
    let thread = thread::Builder::new()
        .name(H::NAME.into())
        .spawn(move || Served { front_end, handler: Some(handler) }.run().map_err(failed))
        .map_err(|e| no_thread(H::NAME, e))?;
    Ok(Device { socket: Some(socket.into()), thread: Some(thread) })
}

/// A device and who it serves. One thread does all, so what QEMU sets never changes under the work.
struct Served<H> {
    front_end: FrontEnd,
    /// `None` after a panic.
    handler: Option<H>,
}

impl<H: Handler> Served<H> {
    fn run(mut self) -> io::Result<()> {
        block_signals();
        loop {
            // Also after a message: the guest may have kicked a queue before QEMU enabled it.
            let busy = self.work();
            let said = self.wait(busy)?;
            if said && !self.serve()? {
                return Ok(());
            }
        }
    }

    /// Answers one message of QEMU. Before a queue stops, what the guest kicked for is done; a guest that never ends has had
    /// its time.
    fn serve(&mut self) -> io::Result<bool> {
        let Self { front_end, handler } = self;
        front_end.serve(|memory, queues| {
            let _rests = (0..LAST_SHARES).any(|_| !work(handler, memory, queues));
        })
    }

    fn work(&mut self) -> bool {
        work(&mut self.handler, &self.front_end.memory, &mut self.front_end.queues)
    }

    /// Waits until there is something to do, unless we are busy anyway; returns whether QEMU said something.
    fn wait(&self, busy: bool) -> io::Result<bool> {
        let (socket, kicks) = self.front_end.sources();
        let wake = self.handler.as_ref().and_then(Handler::wake);
        let sources = [socket].into_iter().chain(wake).chain(kicks);
        let mut polled: Vec<_> = sources.map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN)).collect();
        let timeout = busy.then(Timespec::default);
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(e) => return Err(e.into()),
        }
        for kick in polled.iter().skip(1 + usize::from(wake.is_some())).filter(|kick| !kick.revents().is_empty()) {
            // QEMU may have taken it back meanwhile: then there is nothing, and all queues are looked at anyway.
            let _ = rustix::io::read(kick, &mut [0; 8]);
        }
        Ok(!polled[0].revents().is_empty())
    }
}

fn work<H: Handler>(slot: &mut Option<H>, memory: &Memory, queues: &mut [Queue]) -> bool {
    let Some(handler) = slot else { return false };
    catch_unwind(AssertUnwindSafe(|| handler.work(memory, queues))).unwrap_or_else(|_panic| {
        // What it held is closed, so that the other side of its connections notices.
        *slot = None;
        false
    })
}

/// Leaves signals to the threads of the program. Those that a fault of the thread itself raises stay open, since
/// blocking them would turn a handler's diagnosis into a silent kill.
fn block_signals() {
    // SAFETY: sigset_t is plain data that sigfillset initialises.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&mut set);
        for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGABRT] {
            libc::sigdelset(&mut set, fault);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}
