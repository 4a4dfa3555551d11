//! How whoever runs tests tells the main thread, which alone prints.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::job::{Job, Outcome};

/// Which of its streams a test wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What the main thread hears.
#[derive(Debug)]
pub(crate) enum TestEvent {
    /// The test at this place in the plan begins; who reports it waits until the sender is dropped.
    Started(usize, mpsc::Sender<()>),
    /// A test wrote something that is to be seen at once; what it takes of the room is free when this is dropped.
    Wrote(OutputStream, Vec<u8>, OwnedSemaphorePermit),
    /// Something that the tests wait for went on.
    Progress(lvh_core::Event),
    /// The test at this place has ended.
    Ended(usize, Outcome),
    /// VMs stay; how to enter them.
    Retained(String),
}

/// The way to the main thread. Every job that is started must be ended, once.
#[derive(Debug, Clone)]
pub(crate) struct TestEvents {
    events: mpsc::Sender<TestEvent>,
    stop: Arc<AtomicBool>,
    fail_fast: bool,
    /// For what tests wrote and nobody has seen yet.
    room: Arc<Semaphore>,
}

/// The most that tests may have written and nobody has seen yet, in bytes: then they wait for whoever reads.
const ROOM: usize = 16 << 20;

impl TestEvents {
    /// A way to the main thread, and the main thread's end of it.
    pub(crate) fn new(fail_fast: bool) -> (Self, mpsc::Receiver<TestEvent>) {
        let (events, receiver) = mpsc::channel();
        (Self { events, stop: Arc::default(), fail_fast, room: Arc::new(Semaphore::new(ROOM)) }, receiver)
    }

    /// Whether no further test should start.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// No further test is to start.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// The test begins; what it needs (a VM) is there. Returns once that is shown, and with it the end of the test
    /// before, so that what the test itself prints comes after.
    pub(crate) fn started(&self, job: &Job) {
        let (unshown, shown) = mpsc::channel();
        self.send(TestEvent::Started(job.index, unshown));
        let _ = shown.recv();
    }

    /// The test wrote something and the user wants to see it live.
    pub(crate) async fn wrote(&self, stream: OutputStream, bytes: Vec<u8>) {
        // One message of a guest is far smaller than the room.
        let room = Arc::clone(&self.room).acquire_many_owned(bytes.len() as u32).await;
        self.send(TestEvent::Wrote(stream, bytes, room.expect("the semaphore is never closed")));
    }

    /// Something that the tests wait for went on.
    pub(crate) fn progress(&self, event: lvh_core::Event) {
        self.send(TestEvent::Progress(event));
    }

    /// VMs stay when all tests have ended; how to enter them.
    pub(crate) fn retained(&self, invitation: String) {
        self.send(TestEvent::Retained(invitation));
    }

    /// The test has ended.
    pub(crate) fn ended(&self, job: &Job, outcome: Outcome) {
        if self.fail_fast && outcome.failed() {
            self.stop();
        }
        self.send(TestEvent::Ended(job.index, outcome));
    }

    /// The test does not run.
    pub(crate) fn ignored(&self, job: &Job, reason: &str) {
        self.started(job);
        self.send(TestEvent::Ended(job.index, Outcome::ignored(reason)));
    }

    /// The main thread hears until all senders are gone, unless it panicked; then nobody is left to tell.
    fn send(&self, event: TestEvent) {
        let _ = self.events.send(event);
    }
}
