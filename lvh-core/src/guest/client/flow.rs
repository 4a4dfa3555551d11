//! How much of what one sender in the guest sends may be on its way.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::guest::kernel_log::record::KernelRecord;
use crate::guest::protocol::{self, STDIN_WINDOW, ToGuest, WINDOW};
use crate::guest::wire::malformed;

/// How much of the kernel's log may wait for one consumer, in bytes; the rest is counted.
const KERNEL_QUEUE: usize = 16 << 20;

/// What is sent to the guest before all else: requests, which are short.
pub(crate) type Control = mpsc::UnboundedSender<Vec<u8>>;

/// The same, of one who does not keep the channel open.
pub(crate) type WeakControl = mpsc::WeakUnboundedSender<Vec<u8>>;

/// Sends a request.
///
/// # Errors
/// The channel is closed.
pub(crate) fn request(control: &Control, message: &ToGuest) -> io::Result<()> {
    control.send(protocol::encode(message)).map_err(|_closed| io::ErrorKind::BrokenPipe.into())
}

/// How much of one sender's is on its way or in our queue: the guest sends at most [`WINDOW`] bytes that it has not been
/// told were consumed.
#[derive(Debug)]
pub(crate) struct Flow {
    id: u32,
    control: Control,
    /// Sent and not yet credited, in bytes.
    outstanding: AtomicU32,
    /// What waits of the kernel's log, in bytes.
    kernel: AtomicUsize,
    /// What waits of the news that input was taken, in bytes of input.
    taken: AtomicU32,
}

impl Flow {
    pub(crate) fn new(id: u32, control: Control) -> Arc<Self> {
        Arc::new(Self { id, control, outstanding: 0.into(), kernel: 0.into(), taken: 0.into() })
    }

    /// Asks the guest for what `message` makes of the sender's number.
    pub(crate) fn request(&self, message: impl FnOnce(u32) -> ToGuest) -> io::Result<()> {
        request(&self.control, &message(self.id))
    }

    /// The number of the sender.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The guest has sent as much.
    pub(crate) fn arrived(&self, cost: u32) -> io::Result<()> {
        match self.outstanding.fetch_add(cost, Ordering::Relaxed).checked_add(cost) {
            Some(outstanding) if outstanding <= WINDOW => Ok(()),
            _ => Err(malformed("more output than was asked for")),
        }
    }

    /// Lets the guest send as much again. That the channel is closed is seen elsewhere.
    pub(crate) fn credit(&self, bytes: u32) {
        // In one step: a consumer may go on one thread while another hands it the next message.
        let less = |outstanding: u32| Some(outstanding.saturating_sub(bytes));
        let before = self.outstanding.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        if let bytes @ 1.. = before.unwrap_or_else(|same| same).min(bytes) {
            let _ = self.request(|id| ToGuest::Consumed { id, bytes });
        }
    }

    /// Lets the guest send without end to a consumer that is gone.
    pub(crate) fn credit_all(&self) {
        self.credit(u32::MAX);
    }

    /// Takes room for a record of the kernel's log; whether there is any.
    pub(crate) fn kernel_arrived(&self, record: &KernelRecord) -> bool {
        let has_room = self.kernel.load(Ordering::Relaxed) + cost_of(record) <= KERNEL_QUEUE;
        if has_room {
            self.kernel.fetch_add(cost_of(record), Ordering::Relaxed);
        }
        has_room
    }

    /// A record of the kernel's log was consumed.
    pub(crate) fn kernel_consumed(&self, record: &KernelRecord) {
        self.kernel.fetch_sub(cost_of(record), Ordering::Relaxed);
    }

    /// News of input were consumed.
    pub(crate) fn taken_consumed(&self, bytes: u32) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn taken_arrived(&self, bytes: u32) -> io::Result<()> {
        match self.taken.fetch_add(bytes, Ordering::Relaxed).checked_add(bytes) {
            Some(waiting) if bytes > 0 && waiting <= STDIN_WINDOW => Ok(()),
            _ => Err(malformed("more input taken than was sent")),
        }
    }
}

/// What a record takes in a queue, in bytes, about.
fn cost_of(record: &KernelRecord) -> usize {
    record.text.len() + size_of::<KernelRecord>()
}
