//! What all our devices share: the socket to QEMU, the threads, and how they end.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use vhost::vhost_user::Error as ProtocolError;
use vhost::vhost_user::Listener;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{Error as DaemonError, VhostUserBackend, VhostUserDaemon, VhostUserHandlerError};
use vm_memory::{GuestAddressSpace, GuestMemory, GuestMemoryAtomic, GuestMemoryMmap, GuestMemoryRegion};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::socket;
use super::vring::Vring;
use crate::machine::{no_thread, with_hint};
use crate::{Error, ErrorKind, Result};

/// How long the end of a device waits for its threads, which need a few milliseconds once QEMU is gone.
const GRACE: Duration = Duration::from_secs(2);

/// virtio 1.x, indirect descriptors, event indexes: what every Linux driver uses.
const FEATURES: u64 = 1 << 32 | 1 << 28 | 1 << 29 | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();

/// What differs between our devices.
pub(super) trait Handler: Send + 'static {
    /// The name of its threads.
    const NAME: &str;
    /// How many queues it has.
    const QUEUES: usize;
    /// The longest queue that it takes.
    const QUEUE_SIZE: usize;
    /// What it speaks of the vhost-user protocol.
    const PROTOCOL: VhostUserProtocolFeatures;

    /// The device's configuration space.
    fn config(&self) -> Vec<u8>;

    /// A descriptor that calls [`Handler::work`] whenever it is readable, beside the queues.
    fn wake(&self) -> Option<RawFd>;

    /// Does what there is to do in all queues, up to a fair share. `true`: there may be more, call again.
    fn work(&mut self, memory: &GuestMemoryMmap, queues: &[Vring]) -> bool;
}

/// A device served by threads of this process: QEMU's end of its socket, and the threads behind the other end.
///
/// The threads end when the last copy of that socket is closed, so close yours once QEMU runs. Dropping the device
/// waits for them shortly.
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

    /// Waits until the threads have ended, for at most two seconds; QEMU should be gone by now.
    ///
    /// # Errors
    ///
    /// If QEMU broke the protocol, or if the threads are still busy: they then end on their own with QEMU.
    pub(crate) fn join(mut self) -> Result<()> {
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

/// Starts the threads of a device.
pub(super) fn serve<H: Handler>(handler: H) -> Result<Device> {
    let (listener, socket) = socket::connected_listener().map_err(|e| Error::io("make a vhost-user socket", e))?;
    let (started, start) = mpsc::channel();
    let thread = thread::Builder::new()
        .name(H::NAME.into())
        .spawn(move || supervise(handler, listener.into(), &started))
        .map_err(|e| no_thread(H::NAME, e))?;
    let device = Device { socket: Some(socket), thread: Some(thread) };
    match start.recv() {
        Ok(()) => Ok(device),
        // The thread ended before it could say so; its result tells why.
        Err(_) => {
            Err(device.join().err().unwrap_or_else(|| Error::new(ErrorKind::Io, "a vhost-user device ended early")))
        }
    }
}

/// The device's own thread: starts the two threads of the daemon, waits for QEMU to go, clears up.
fn supervise<H: Handler>(handler: H, listener: Listener, started: &mpsc::Sender<()>) -> Result<()> {
    block_signals();
    let exit = Arc::new(ExitEvent::new().map_err(|e| Error::io("start a vhost-user device", e))?);
    let result = run(handler, listener, started, exit.clone());
    exit.close();
    result.map_err(|e| failure(H::NAME, e))
}

/// Threads of the library are told as our own.
fn failure(name: &str, error: DaemonError) -> Error {
    let failed = |what: &str| Error::new(ErrorKind::Io, format!("vhost-user device `{name}`{what}"));
    match error {
        DaemonError::NewVhostUserHandler(VhostUserHandlerError::SpawnVringWorker(e)) | DaemonError::StartDaemon(e) => {
            with_hint(failed(" did not start"), e)
        }
        other => failed(&format!(": {other}")),
    }
}

fn run<H: Handler>(
    handler: H,
    mut listener: Listener,
    started: &mpsc::Sender<()>,
    exit: Arc<ExitEvent>,
) -> std::result::Result<(), DaemonError> {
    let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
    let again = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map_err(DaemonError::StartDaemon)?;
    let wakers = [Some(again.as_raw_fd()), handler.wake()];
    let backend = Arc::new(Backend { handler: Mutex::new(Some(handler)), memory: memory.clone(), again, exit });
    let mut daemon = VhostUserDaemon::new(H::NAME.into(), backend, memory)?;
    for worker in daemon.get_epoll_handlers() {
        // The numbers below these are the queues and the exit event.
        for (fd, number) in wakers.into_iter().flatten().zip(H::QUEUES as u64 + 1..) {
            worker.register_listener(fd, EventSet::IN, number).map_err(DaemonError::StartDaemon)?;
        }
    }
    daemon.start(&mut listener)?;
    // Closes the abstract name.
    drop(listener);
    // Nobody listens any more only if `serve` panicked.
    let _ = started.send(());
    match daemon.wait() {
        Err(DaemonError::HandleRequest(ProtocolError::Disconnected | ProtocolError::PartialMessage)) => Ok(()),
        ended => ended,
    }
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

/// What ends the worker. vhost-user-backend (up to 0.24 at least) forgets to close the end that it waits on
/// (`consumer.into_raw_fd()`), so we do.
#[derive(Debug)]
struct ExitEvent {
    ends: Mutex<Option<(EventConsumer, EventNotifier)>>,
    waited_on: RawFd,
}

impl ExitEvent {
    fn new() -> io::Result<Self> {
        let ends = new_event_consumer_and_notifier(EventFlag::CLOEXEC | EventFlag::NONBLOCK)?;
        Ok(Self { waited_on: ends.0.as_raw_fd(), ends: Mutex::new(Some(ends)) })
    }

    /// Both ends, for the one worker.
    fn take(&self) -> Option<(EventConsumer, EventNotifier)> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// To be called once the daemon is gone.
    fn close(&self) {
        if self.take().is_none() {
            // SAFETY: the ends were given to the library, which gave up the ownership of this one and is gone.
            drop(unsafe { OwnedFd::from_raw_fd(self.waited_on) });
        }
    }
}

/// Joins a [`Handler`] to the vhost-user library.
struct Backend<H> {
    /// `None` after a panic.
    handler: Mutex<Option<H>>,
    memory: GuestMemoryAtomic<GuestMemoryMmap>,
    /// Wakes the worker after a fair share of work, so that it looks at other events in between.
    again: EventFd,
    exit: Arc<ExitEvent>,
}

impl<H: Handler> VhostUserBackend for Backend<H> {
    type Bitmap = ();
    type Vring = Vring;

    fn num_queues(&self) -> usize {
        H::QUEUES
    }

    fn max_queue_size(&self) -> usize {
        H::QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        FEATURES
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        H::PROTOCOL
    }

    fn set_event_idx(&self, _enabled: bool) {}

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let handler = self.handler.lock().unwrap_or_else(PoisonError::into_inner);
        let config = handler.as_ref().map(Handler::config).unwrap_or_default();
        config.into_iter().skip(offset as usize).take(size as usize).collect()
    }

    /// The library receives descriptors without close-on-exec; a child of the program would keep all of the guest's
    /// memory alive.
    fn update_memory(&self, memory: GuestMemoryAtomic<GuestMemoryMmap>) -> io::Result<()> {
        for region in memory.memory().iter() {
            if let Some(file) = region.file_offset() {
                let _ = fcntl_setfd(file.file(), FdFlags::CLOEXEC);
            }
        }
        Ok(())
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        self.exit.take()
    }

    /// Never fails: an error would end the worker and leave the guest waiting.
    fn handle_event(&self, _event: u16, _set: EventSet, queues: &[Vring], _thread: usize) -> io::Result<()> {
        let mut slot = self.handler.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(handler) = slot.as_mut() else { return Ok(()) };
        let memory = self.memory.memory();
        // Not set is an error here, and as good.
        let _ = self.again.read();
        match catch_unwind(AssertUnwindSafe(|| handler.work(&memory, queues))) {
            Ok(false) => {}
            // A counter of ones that is read every time cannot overflow.
            Ok(true) => drop(self.again.write(1)),
            // What it held is closed, so that the other side of its connections notices.
            Err(_panic) => *slot = None,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Panicking;

    impl Handler for Panicking {
        const NAME: &str = "lvh-panicking";
        const QUEUES: usize = 1;
        const QUEUE_SIZE: usize = 16;
        const PROTOCOL: VhostUserProtocolFeatures = VhostUserProtocolFeatures::MQ;

        fn config(&self) -> Vec<u8> {
            vec![1, 2, 3, 4]
        }

        fn wake(&self) -> Option<RawFd> {
            None
        }

        fn work(&mut self, _memory: &GuestMemoryMmap, _queues: &[Vring]) -> bool {
            panic!("a bug, for this test");
        }
    }

    #[test]
    fn a_panic_ends_the_device_not_the_worker() {
        let backend = Backend {
            handler: Mutex::new(Some(Panicking)),
            memory: GuestMemoryAtomic::new(GuestMemoryMmap::new()),
            again: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).unwrap(),
            exit: Arc::new(ExitEvent::new().unwrap()),
        };
        assert_eq!(backend.get_config(1, 2), [2, 3]);
        assert_eq!(backend.get_config(u32::MAX, u32::MAX), [0; 0]);
        backend.handle_event(0, EventSet::IN, &[], 0).unwrap();
        assert!(backend.handler.lock().unwrap().is_none());
        backend.handle_event(0, EventSet::IN, &[], 0).unwrap();
    }

    #[test]
    fn a_device_ends_with_its_socket() {
        let mut device = serve(Panicking).unwrap();
        drop(device.take_socket());
        device.join().unwrap();
        serve(Panicking).unwrap().join().unwrap();
    }
}
