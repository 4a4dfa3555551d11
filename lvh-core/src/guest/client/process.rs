//! A command in the guest, seen from the host.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::flow::Flow;
use crate::error::{Error, ErrorKind, Result};
use crate::guest::kernel_log::record::KernelRecord;
use crate::guest::protocol::{self, STDIN_WINDOW, TerminalSize, ToGuest, ToHost, WINDOW, output_cost};
use crate::guest::wire::Bytes;

/// Which stream of a command some bytes belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stream {
    /// Standard output, or both where they are merged or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
    /// The report pipe (see [`Command::report`](super::command::Command::report)).
    Report,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It returned this exit code, 0 to 255.
    Code(i32),
    /// A signal killed it.
    Signal {
        /// Its number.
        signal: i32,
        /// The command left a core.
        core: bool,
    },
    /// It could not be started; why.
    NotStarted(String),
}

/// What happens to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessEvent {
    /// It runs.
    Started,
    /// It wrote something.
    Output(Stream, Vec<u8>),
    /// The kernel said something while it ran.
    Kernel(KernelRecord),
    /// The kernel said so many more records, before the next one or the end, than were taken in time.
    KernelLost(u64),
    /// It read this much of its standard input.
    Taken(u32),
    /// What [`Process::explain`] asked for.
    Stacks {
        /// Where its threads were in the kernel, a line each.
        lines: Vec<String>,
        /// Whether it was asked itself: it has a handler for [`STACKS_SIGNAL`](crate::vm::STACKS_SIGNAL).
        asked: bool,
    },
    /// What of the machine it changed, a line each; only where it was asked for, and then before its end.
    Changed(Vec<String>),
    /// It ended; nothing more will come.
    Exited(Exit),
}

/// A command in the guest; mirrors [`std::process::Child`].
///
/// What it writes waits for [`Process::next`]: after a megabyte that nobody took the command waits too, alone. A dropped
/// one runs on, and what it writes is thrown away.
#[derive(Debug)]
#[must_use = "a command whose output nobody takes waits in the end"]
pub struct Process {
    events: mpsc::UnboundedReceiver<ProcessEvent>,
    requests: Requests,
    /// Taken, and not yet credited.
    consumed: u32,
}

impl Process {
    pub(crate) fn new(events: mpsc::UnboundedReceiver<ProcessEvent>, requests: Requests) -> Self {
        Self { events, requests, consumed: 0 }
    }

    /// The next thing that happens to it; none when the guest is gone.
    pub async fn next(&mut self) -> Option<ProcessEvent> {
        let event = self.next_uncredited().await?;
        if let ProcessEvent::Output(_, data) = &event {
            self.consumed += output_cost(data.len());
            // A message for each would be as many as there is output.
            if self.consumed >= WINDOW / 2 {
                self.requests.flow.credit(std::mem::take(&mut self.consumed));
            }
        }
        Some(event)
    }

    /// As [`Self::next`], for one who has another say what was consumed.
    pub(crate) async fn next_uncredited(&mut self) -> Option<ProcessEvent> {
        let event = self.events.recv().await?;
        match &event {
            ProcessEvent::Kernel(record) => self.requests.flow.kernel_consumed(record),
            ProcessEvent::Taken(bytes) => self.requests.flow.taken_consumed(*bytes),
            _ => {}
        }
        Some(event)
    }

    /// Waits for its end though nobody says any more what was consumed.
    pub(crate) async fn abandoned(&mut self) {
        self.requests.flow.credit_all();
        while self.next().await.is_some() {}
    }

    /// Waits for its end; what it writes meanwhile is thrown away. None when the guest is gone.
    pub async fn wait(&mut self) -> Option<Exit> {
        loop {
            if let ProcessEvent::Exited(exit) = self.next().await? {
                return Some(exit);
            }
        }
    }

    /// What feeds its standard input, with the protocol's window.
    pub fn stdin(&self) -> Stdin {
        Stdin { requests: self.requests.clone(), room: STDIN_WINDOW }
    }

    /// Tells its terminal, where it has one, the size of its window.
    ///
    /// # Errors
    /// The guest is gone.
    pub fn resize(&self, size: TerminalSize) -> Result<()> {
        self.requests.resize(size).map_err(gone)
    }

    /// Sends a signal to its process group.
    ///
    /// # Errors
    /// The guest is gone.
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.requests.signal(signal).map_err(gone)
    }

    /// Has the guest tell where its threads are ([`ProcessEvent::Stacks`]), before it does what is asked next; to be asked once.
    ///
    /// # Errors
    /// The guest is gone.
    pub fn explain(&self) -> Result<()> {
        self.requests.flow.request(|id| ToGuest::Explain { id }).map_err(gone)
    }

    /// Kills it and everything it started.
    ///
    /// # Errors
    /// The guest is gone.
    pub fn kill(&self) -> Result<()> {
        self.requests.kill().map_err(gone)
    }

    /// What can be asked of it while somebody else waits for what happens to it.
    pub(crate) fn requests(&self) -> Requests {
        self.requests.clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.events.close();
        self.requests.flow.credit_all();
    }
}

/// The error of all that is asked of a guest that is gone.
pub(crate) fn gone(error: io::Error) -> Error {
    Error::new(ErrorKind::Guest, "the guest is gone").with_source(error)
}

/// What can be asked of a command.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    flow: Arc<Flow>,
    input: mpsc::Sender<Vec<u8>>,
}

impl Requests {
    pub(crate) fn new(flow: Arc<Flow>, input: mpsc::Sender<Vec<u8>>) -> Self {
        Self { flow, input }
    }

    /// Asks what `message` asks of a command in another process, of this one; what is not about a command is dropped.
    pub(crate) async fn pass_on(&self, message: ToGuest) -> io::Result<()> {
        match message {
            ToGuest::Stdin { data, .. } => self.feed(data).await,
            ToGuest::Signal { signal, .. } => self.signal(signal),
            ToGuest::Resize { size, .. } => self.resize(size),
            ToGuest::Kill { .. } => self.kill(),
            ToGuest::Consumed { bytes, .. } => {
                self.flow.credit(bytes);
                Ok(())
            }
            ToGuest::Prepare { .. }
            | ToGuest::Setup { .. }
            | ToGuest::Clock { .. }
            | ToGuest::Run { .. }
            | ToGuest::Collect { .. }
            | ToGuest::Change { .. }
            | ToGuest::Refresh {}
            | ToGuest::Ping { .. }
            | ToGuest::Explain { .. }
            | ToGuest::Shutdown { .. } => Ok(()),
        }
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        self.flow.request(|id| ToGuest::Signal { id, signal })
    }

    fn resize(&self, size: TerminalSize) -> io::Result<()> {
        self.flow.request(|id| ToGuest::Resize { id, size })
    }

    /// Kills the command; harmless when it has ended.
    pub(crate) fn kill(&self) -> io::Result<()> {
        self.flow.request(|id| ToGuest::Kill { id })
    }

    async fn feed(&self, data: Bytes) -> io::Result<()> {
        let message = protocol::encode(&ToGuest::Stdin { id: self.flow.id(), data });
        self.input.send(message).await.map_err(|_closed| io::ErrorKind::BrokenPipe.into())
    }
}

/// Feeds a command's standard input.
#[derive(Debug)]
pub struct Stdin {
    requests: Requests,
    room: u32,
}

impl Stdin {
    /// How many bytes may be sent now.
    pub fn room(&self) -> usize {
        self.room as usize
    }

    /// The command has read `bytes` more (see [`ProcessEvent::Taken`]).
    pub fn taken(&mut self, bytes: u32) {
        self.room = self.room.saturating_add(bytes).min(STDIN_WINDOW);
    }

    /// Sends `data`, of at most [`Self::room`] bytes; none: end of file. Dropped before it is done, it has sent nothing.
    ///
    /// # Errors
    /// The guest is gone.
    pub async fn send(&mut self, data: &[u8]) -> Result<()> {
        self.requests.feed(Bytes(data.to_vec())).await.map_err(gone)?;
        self.room = self.room.saturating_sub(data.len() as u32);
        Ok(())
    }
}

impl ProcessEvent {
    /// The message that tells it of the command `id`; the kernel's words are no single command's.
    pub(crate) fn into_message(self, id: u32) -> Option<ToHost> {
        match self {
            Self::Started => Some(ToHost::Started { id }),
            Self::Output(stream, data) => Some(ToHost::Output { id, stream: stream.into(), data: Bytes(data) }),
            Self::Taken(bytes) => Some(ToHost::Taken { id, bytes }),
            Self::Exited(exit) => Some(ToHost::Exited { id, exit: exit.into() }),
            Self::Kernel(_) | Self::KernelLost(_) | Self::Stacks { .. } | Self::Changed(_) => None,
        }
    }
}

impl From<protocol::Stream> for Stream {
    fn from(stream: protocol::Stream) -> Self {
        match stream {
            protocol::Stream::Stdout {} => Self::Stdout,
            protocol::Stream::Stderr {} => Self::Stderr,
            protocol::Stream::Report {} => Self::Report,
        }
    }
}

impl From<Stream> for protocol::Stream {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => Self::Stdout {},
            Stream::Stderr => Self::Stderr {},
            Stream::Report => Self::Report {},
        }
    }
}

impl From<protocol::Exit> for Exit {
    fn from(exit: protocol::Exit) -> Self {
        match exit {
            protocol::Exit::Code { code } => Self::Code(code),
            protocol::Exit::Signal { signal, core } => Self::Signal { signal, core },
            protocol::Exit::NotStarted { error } => Self::NotStarted(error),
        }
    }
}

impl From<Exit> for protocol::Exit {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Code(code) => Self::Code { code },
            Exit::Signal { signal, core } => Self::Signal { signal, core },
            Exit::NotStarted(error) => Self::NotStarted { error },
        }
    }
}
