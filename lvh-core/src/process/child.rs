//! A program that was started.

use std::fs;
use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::sync::watch;

use super::keeper;

/// How a program ended, or why nobody can tell.
pub(super) type End = Result<ExitStatus, Errno>;

/// A started program. When this is dropped, it is killed with all of its process group.
#[derive(Debug)]
#[must_use = "dropped, the program is killed"]
pub struct Child(Arc<Shared>);

/// What a child's owner and the keeper's thread both see.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pid: Pid,
    state: Mutex<State>,
    changed: Condvar,
    /// Sent to under the lock of `state` alone.
    end: watch::Sender<Option<End>>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) outputs: Vec<Output>,
    /// Nobody is interested in it any more.
    pub(super) abandoned: bool,
}

/// What came out of one pipe.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    pub(super) closed: bool,
}

impl Child {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Kills it and its process group; harmless when it has ended.
    pub fn kill(&self) {
        self.0.signal(Signal::KILL);
    }

    /// Whether something stopped it, as SIGSTOP does (proc_pid_stat(5)).
    pub fn is_stopped(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.pid)).unwrap_or_default();
        self.0.end().is_none() && stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// Those of waitpid(2), such as that our SIGCHLD is ignored.
    pub fn status(&self) -> io::Result<Option<ExitStatus>> {
        Ok(self.0.end().transpose()?)
    }

    /// Waits until it has ended and is reaped. Nothing is left of its process group then.
    ///
    /// # Errors
    /// As [`Child::status`].
    pub async fn ended(&self) -> io::Result<ExitStatus> {
        let mut end = self.0.end.subscribe();
        let end = end.wait_for(Option::is_some).await.map_err(io::Error::other)?;
        Ok(end.expect("it was waited for")?)
    }

    /// As [`Child::ended`], on this thread and for so long: `None` if it runs on.
    ///
    /// # Errors
    /// As [`Child::status`].
    pub fn wait(&self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        drop(self.0.wait_while(limit, |_| self.0.end().is_none()));
        self.status()
    }

    /// Brings its end about: asks with SIGTERM where there is a `grace`, kills when that is over, and waits for the end.
    ///
    /// # Errors
    /// As [`Child::status`].
    pub fn end(&self, grace: Duration) -> io::Result<ExitStatus> {
        if !grace.is_zero() {
            self.0.signal(Signal::TERM);
            self.wait(grace)?;
        }
        self.kill();
        Ok(self.wait(Duration::MAX)?.expect("it was waited for"))
    }

    /// What came out of its pipe number `pipe` so far.
    pub fn output_so_far(&self, pipe: usize) -> Vec<u8> {
        self.0.lock().outputs[pipe].bytes.clone()
    }

    /// What came out of its pipe number `pipe`, which is waited for until the pipe is closed or `grace` is over.
    pub fn output(&self, pipe: usize, grace: Duration) -> Vec<u8> {
        let mut state = self.0.wait_while(grace, |state| !state.outputs[pipe].closed);
        std::mem::take(&mut state.outputs[pipe].bytes)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        self.0.lock().abandoned = true;
        keeper::wake();
    }
}

impl Shared {
    pub(super) fn new(pid: Pid, pipes: usize) -> Self {
        let outputs = std::iter::repeat_with(Output::default).take(pipes).collect();
        let state = Mutex::new(State { outputs, abandoned: false });
        Self { pid, state, changed: Condvar::new(), end: watch::Sender::new(None) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end(&self) -> Option<End> {
        *self.end.borrow()
    }

    /// Lets `change` work on the state, and then those look again who wait for it.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Says how it ended, which `reap` finds out. A signal can never hit a process id that was given to another, for it
    /// is sent under the same lock.
    pub(super) fn announce(&self, reap: impl FnOnce() -> End) {
        self.change(|_| {
            self.end.send_replace(Some(reap()));
        });
    }

    fn signal(&self, signal: Signal) {
        let _state = self.lock();
        if self.end().is_none() {
            // It fails where the group is gone, which is as well.
            let _ = kill_process_group(self.pid, signal);
        }
    }

    fn wait_while(&self, limit: Duration, busy: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_timeout_while(self.lock(), limit, |state| busy(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
#[path = "child_tests.rs"]
mod tests;
