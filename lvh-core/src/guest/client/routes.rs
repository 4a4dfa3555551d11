//! Who gets what the guest sends.
//!
//! No consumer can hold up another: what a guest sends for one goes into a queue of its own, which the protocol's window
//! bounds. A guest that sends more than that is not in order, and its channel is given up.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{mpsc, oneshot, watch};

use super::flow::Flow;
use super::framing::receive;
use super::process::{Exit, ProcessEvent};
use crate::guest::kernel_log::log_file::LogFile;
use crate::guest::kernel_log::record::KernelRecord;
use crate::guest::protocol::{MAX_ANSWER, ToHost, output_cost};
use crate::guest::wire::malformed;

/// Where a command's events go.
#[derive(Debug)]
pub(crate) struct ToProcess {
    pub(crate) events: mpsc::UnboundedSender<ProcessEvent>,
    pub(crate) flow: Arc<Flow>,
    started: bool,
    /// Records that found no room.
    lost: u64,
    changed: bool,
    explained: bool,
}

impl ToProcess {
    pub(crate) fn new(events: mpsc::UnboundedSender<ProcessEvent>, flow: Arc<Flow>) -> Self {
        Self { events, flow, started: false, lost: 0, changed: false, explained: false }
    }

    /// A command that nobody listens to any more is no error; its output is thrown away.
    fn tell(&self, event: ProcessEvent) {
        if self.events.send(event).is_err() {
            self.flow.credit_all();
        }
    }

    fn tell_kernel(&mut self, record: &KernelRecord) {
        if !self.flow.kernel_arrived(record) {
            self.lost += 1;
            return;
        }
        self.tell_lost();
        self.tell(ProcessEvent::Kernel(record.clone()));
    }

    fn tell_lost(&mut self) {
        if let lost @ 1.. = std::mem::take(&mut self.lost) {
            self.tell(ProcessEvent::KernelLost(lost));
        }
    }

    /// A guest that says it twice could fill the queue with it.
    fn start(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.started, true) {
            return Err(malformed("started a second time"));
        }
        self.tell(ProcessEvent::Started);
        Ok(())
    }

    /// As with [`Self::start`].
    fn change(&mut self, changes: Vec<String>) -> io::Result<()> {
        if std::mem::replace(&mut self.changed, true) {
            return Err(malformed("changes a second time"));
        }
        self.tell(ProcessEvent::Changed(changes));
        Ok(())
    }

    /// As with [`Self::start`].
    fn explain(&mut self, lines: Vec<String>, asked: bool) -> io::Result<()> {
        if std::mem::replace(&mut self.explained, true) {
            return Err(malformed("stacks a second time"));
        }
        self.tell(ProcessEvent::Stacks { lines, asked });
        Ok(())
    }

    fn end(mut self, exit: Exit) {
        self.tell_lost();
        self.tell(ProcessEvent::Exited(exit));
    }
}

/// Where collected changes go.
#[derive(Debug)]
pub(crate) struct ToCollector {
    pub(crate) parts: mpsc::UnboundedSender<ToHost>,
    pub(crate) flow: Arc<Flow>,
}

/// Who gets what the guest sends, by the number of what they asked.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    pub(crate) processes: HashMap<u32, ToProcess>,
    pub(crate) collectors: HashMap<u32, ToCollector>,
    /// Who waits for a goodbye, or for a sign of life.
    pub(crate) answers: HashMap<u32, oneshot::Sender<()>>,
}

/// The routes, which senders of requests add to.
pub(crate) type SharedRoutes = Arc<Mutex<Routes>>;

/// Takes the lock; nothing panics under it.
pub(crate) fn lock(routes: &SharedRoutes) -> MutexGuard<'_, Routes> {
    routes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the channel ended.
#[derive(Debug, Clone)]
pub(crate) struct Closed {
    pub(crate) why: String,
    /// Not between two messages, or with what is none.
    pub(crate) broke: bool,
}

/// Hands out what the guest sends until the channel closes, or the guest is given up.
pub(crate) async fn dispatch(
    reader: OwnedReadHalf,
    routes: SharedRoutes,
    kernel_log: Option<LogFile>,
    closing: watch::Sender<Option<Closed>>,
    given_up: oneshot::Receiver<String>,
) {
    let closed = tokio::select! {
        closed = hand_out(reader, &routes, kernel_log) => closed,
        Ok(why) = given_up => Closed { why, broke: false },
    };
    // In this order: whoever sees its command end without `Exited` finds the reason.
    closing.send_replace(Some(closed));
    *lock(&routes) = Routes::default();
}

async fn hand_out(mut reader: OwnedReadHalf, routes: &SharedRoutes, mut kernel_log: Option<LogFile>) -> Closed {
    let broke = |error: io::Error| Closed { why: format!("the channel broke: {error}"), broke: true };
    loop {
        match receive::<ToHost>(&mut reader, MAX_ANSWER).await {
            Ok(Some(message)) => {
                if let Err(error) = lock(routes).route(message, &mut kernel_log) {
                    break broke(error);
                }
            }
            Ok(None) => break Closed { why: "the guest closed the channel".to_owned(), broke: false },
            Err(error) => break broke(error),
        }
    }
}

impl Routes {
    fn route(&mut self, message: ToHost, kernel_log: &mut Option<LogFile>) -> io::Result<()> {
        match message {
            ToHost::Started { id } => self.processes.get_mut(&id).map_or(Ok(()), ToProcess::start)?,
            ToHost::Output { id, stream, data } => self.tell(id, |flow| {
                flow.arrived(output_cost(data.0.len()))?;
                Ok(ProcessEvent::Output(stream.into(), data.0))
            })?,
            ToHost::Taken { id, bytes } => self.tell(id, |flow| {
                flow.taken_arrived(bytes)?;
                Ok(ProcessEvent::Taken(bytes))
            })?,
            ToHost::Changed { id, changes } => {
                self.processes.get_mut(&id).map_or(Ok(()), |process| process.change(changes))?;
            }
            ToHost::Stacks { id, lines, asked } => {
                self.processes.get_mut(&id).map_or(Ok(()), |process| process.explain(lines, asked))?;
            }
            ToHost::Exited { id, exit } => {
                if let Some(process) = self.processes.remove(&id) {
                    process.end(exit.into());
                }
            }
            ToHost::Kernel { records } => {
                let records = KernelRecord::parse_all(&records.0);
                kernel_log.iter_mut().for_each(|log| log.append_records(&records));
                self.processes.values_mut().for_each(|process| records.iter().for_each(|r| process.tell_kernel(r)));
            }
            ToHost::Change { id, .. } | ToHost::Collected { id, .. } => self.collect(id, message)?,
            ToHost::Bye { id } | ToHost::Pong { id } => {
                let _ = self.answers.remove(&id).map(|answer| answer.send(()));
            }
            // A guest that says hello twice has nothing to tell us.
            ToHost::Hello { .. }
            | ToHost::Prepared {}
            | ToHost::Clock {}
            | ToHost::Ready { .. }
            | ToHost::Failed { .. } => {}
        }
        Ok(())
    }

    fn tell(&self, id: u32, event: impl FnOnce(&Flow) -> io::Result<ProcessEvent>) -> io::Result<()> {
        if let Some(process) = self.processes.get(&id) {
            process.tell(event(&process.flow)?);
        }
        Ok(())
    }

    fn collect(&mut self, id: u32, part: ToHost) -> io::Result<()> {
        let Some(collector) = self.collectors.get(&id) else { return Ok(()) };
        collector.flow.arrived(part.cost())?;
        let ended = matches!(part, ToHost::Collected { .. });
        if collector.parts.send(part).is_err() {
            collector.flow.credit_all();
        }
        if ended {
            self.collectors.remove(&id);
        }
        Ok(())
    }
}
