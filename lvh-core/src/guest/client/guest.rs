//! The host's side of the protocol: what it asks of a guest that is ready.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::flow::{Control, Flow, WeakControl, request};
use super::framing::send;
use super::process::{Process, Requests};
use super::routes::{Closed, Routes, SharedRoutes, ToCollector, ToProcess, dispatch, lock};
use crate::guest::kernel_log::log_file::LogFile;
use crate::guest::protocol::{Command, ToGuest, ToHost, WINDOW};
use crate::guest::wire::Bytes;

/// How many messages of standard input may wait for the channel.
const INPUT_QUEUE: usize = 4;

/// How long a guest that is sending files may say nothing: a serial line carries a part in a fifth of a second.
const SILENCE: Duration = Duration::from_secs(60);

/// A guest whose rootfs is built. Any number of commands, collections and goodbyes may be under way.
#[derive(Debug)]
pub(crate) struct Guest {
    control: Control,
    input: mpsc::Sender<Vec<u8>>,
    routes: SharedRoutes,
    next_id: AtomicU32,
    closed: watch::Receiver<Option<Closed>>,
    give_up: Mutex<Option<oneshot::Sender<String>>>,
}

impl Guest {
    /// A guest at the other end of this channel; all that its kernel says goes to `kernel_log`.
    pub(crate) fn serve(reader: OwnedReadHalf, writer: OwnedWriteHalf, kernel_log: Option<LogFile>) -> Self {
        let (control, requests) = mpsc::unbounded_channel();
        let (input, inputs) = mpsc::channel(INPUT_QUEUE);
        let (closing, closed) = watch::channel(None);
        let (give_up, given_up) = oneshot::channel();
        let routes = SharedRoutes::default();
        tokio::spawn(dispatch(reader, Arc::clone(&routes), kernel_log, closing, given_up));
        tokio::spawn(write(writer, requests, inputs));
        Self { control, input, routes, next_id: AtomicU32::new(1), closed, give_up: Mutex::new(Some(give_up)) }
    }

    /// Starts a command.
    ///
    /// # Errors
    /// The channel is closed.
    pub(crate) fn run(&self, command: Command) -> io::Result<Process> {
        let id = self.next_id();
        let (sender, events) = mpsc::unbounded_channel();
        let flow = Flow::new(id, self.control.clone());
        lock(&self.routes).processes.insert(id, ToProcess::new(sender, Arc::clone(&flow)));
        self.request(&ToGuest::Run { id, command })?;
        Ok(Process::new(events, Requests::new(flow, self.input.clone())))
    }

    /// Tells the guest what the host changed in a directory that it mirrors; commands that are run later find it so.
    ///
    /// # Errors
    /// The channel is closed.
    pub(crate) fn change(&self, changes: &[ToGuest]) -> io::Result<()> {
        changes.iter().try_for_each(|change| self.request(change))
    }

    /// Has the guest look again at the files that the host shares; commands that are run later find them as they are.
    ///
    /// # Errors
    /// The channel is closed.
    pub(crate) fn refresh(&self) -> io::Result<()> {
        self.request(&ToGuest::Refresh {})
    }

    /// The same for one who does not keep the channel open.
    pub(crate) fn refresher(&self) -> Refresher {
        Refresher(self.control.downgrade())
    }

    /// What changed in the guest below `dir` goes to `sink` part by part, and is gone from there where it is to `take` the
    /// files; what of it could not be read there, a line each.
    ///
    /// # Errors
    /// The channel is closed, the guest falls silent; those of `sink`.
    pub(crate) async fn collect(
        &self,
        dir: &[u8],
        take: bool,
        mut sink: impl FnMut(ToHost) -> io::Result<()>,
    ) -> io::Result<Vec<String>> {
        let id = self.next_id();
        let (sender, mut parts) = mpsc::unbounded_channel();
        let flow = Flow::new(id, self.control.clone());
        lock(&self.routes).collectors.insert(id, ToCollector { parts: sender, flow: Arc::clone(&flow) });
        self.request(&ToGuest::Collect { id, dir: Bytes(dir.to_vec()), take })?;
        // Whatever ends this, the rest is thrown away.
        let _credit = CreditOnDrop(&flow);
        let mut consumed = 0;
        loop {
            match timeout(SILENCE, parts.recv()).await? {
                Some(ToHost::Collected { problems, .. }) => return Ok(problems),
                Some(part) => {
                    consumed += part.cost();
                    sink(part)?;
                }
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
            if consumed >= WINDOW / 2 {
                flow.credit(std::mem::take(&mut consumed));
            }
        }
    }

    /// What can ask the guest whether it is alive, and give it up, for one who does not keep the channel open. There is one.
    pub(crate) fn pulse(&self) -> Option<Pulse> {
        let give_up = self.give_up.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Pulse { control: self.control.downgrade(), routes: Arc::clone(&self.routes), give_up })
    }

    /// Has the guest kill its commands and write everything back; the VM can be ended after.
    ///
    /// # Errors
    /// The channel is closed.
    pub(crate) async fn say_goodbye(&self) -> io::Result<()> {
        let id = self.next_id();
        let (sender, bye) = oneshot::channel();
        lock(&self.routes).answers.insert(id, sender);
        self.request(&ToGuest::Shutdown { id })?;
        bye.await.map_err(|_closed| io::ErrorKind::UnexpectedEof.into())
    }

    /// Waits until the channel is closed; says why.
    pub(crate) async fn closed(&self) -> String {
        let mut closed = self.closed.clone();
        let closed = closed.wait_for(Option::is_some).await.ok().and_then(|closed| closed.clone());
        closed.map_or_else(|| "closed".to_owned(), |closed| closed.why)
    }

    /// Whether the channel was closed by what no guest in order sends.
    pub(crate) fn broke(&self) -> bool {
        self.closed.borrow().as_ref().is_some_and(|closed| closed.broke)
    }

    fn next_id(&self) -> u32 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// What is asked after the channel has closed is answered by nobody: the routes are gone by then, or go with it.
    fn request(&self, message: &ToGuest) -> io::Result<()> {
        if self.closed.borrow().is_some() {
            *lock(&self.routes) = Routes::default();
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        request(&self.control, message)
    }
}

/// Has a guest look again at the files that the host shares, for as long as it is there.
#[derive(Debug)]
pub(crate) struct Refresher(WeakControl);

impl Refresher {
    /// As [`Guest::refresh`].
    ///
    /// # Errors
    /// The channel is closed.
    pub(crate) fn refresh(&self) -> io::Result<()> {
        let control = self.0.upgrade().ok_or(io::ErrorKind::BrokenPipe)?;
        request(&control, &ToGuest::Refresh {})
    }
}

/// Whether a guest is alive.
#[derive(Debug)]
pub(crate) struct Pulse {
    control: WeakControl,
    routes: SharedRoutes,
    give_up: oneshot::Sender<String>,
}

impl Pulse {
    /// The number of its questions, which no other request has: those count from 1.
    const ID: u32 = 0;

    /// Whether the guest answers within `limit`; `None` once its channel is closed, or nobody is interested any more.
    pub(crate) async fn beats(&self, limit: Duration) -> Option<bool> {
        let (sender, answer) = oneshot::channel();
        lock(&self.routes).answers.insert(Self::ID, sender);
        request(&self.control.upgrade()?, &ToGuest::Ping { id: Self::ID }).ok()?;
        match timeout(limit, answer).await {
            Ok(Ok(())) => Some(true),
            Ok(Err(_closed)) => None,
            Err(_elapsed) => Some(false),
        }
    }

    /// Whether anybody has use for the guest.
    pub(crate) fn is_wanted(&self) -> bool {
        self.control.upgrade().is_some() && !self.give_up.is_closed()
    }

    /// Ends the channel, for this reason.
    pub(crate) fn give_up(self, why: String) {
        let _ = self.give_up.send(why);
    }
}

/// Lets the guest go on when a consumer is gone.
struct CreditOnDrop<'a>(&'a Flow);

impl Drop for CreditOnDrop<'_> {
    fn drop(&mut self) {
        self.0.credit_all();
    }
}

/// Writes requests, and input where there are none.
async fn write(
    mut writer: OwnedWriteHalf,
    mut requests: mpsc::UnboundedReceiver<Vec<u8>>,
    mut inputs: mpsc::Receiver<Vec<u8>>,
) {
    loop {
        let bytes = tokio::select! {
            biased;
            Some(bytes) = requests.recv() => bytes,
            Some(bytes) = inputs.recv() => bytes,
            else => return,
        };
        // The reading side learns of a broken channel too, and tells.
        if send(&mut writer, &bytes).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
#[path = "guest_tests.rs"]
mod tests;
