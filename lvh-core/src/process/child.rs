//! A program that was started.

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
mod tests {
    use std::fs;
    use std::io::{PipeReader, Write};
    use std::os::fd::AsRawFd;
    use std::process::{Command, Stdio};
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::process::Start;

    const LONG: Duration = Duration::from_secs(20);

    fn sh(script: &str) -> (Start, PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(writer).stderr(Stdio::null());
        (Start::new(command), reader)
    }

    fn spawn(script: &str, limit: usize) -> Child {
        let (start, output) = sh(script);
        start.collect(output, limit).spawn().unwrap()
    }

    /// Waits until the child has written a line, a process id.
    fn pid_told(child: &Child) -> String {
        let start = Instant::now();
        while !child.output_so_far(0).ends_with(b"\n") {
            assert!(start.elapsed() < LONG, "nothing was told");
            thread::sleep(Duration::from_millis(2));
        }
        String::from_utf8(child.output_so_far(0)).unwrap().trim().to_owned()
    }

    fn runs(pid: &str) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    fn wait_for_end(pid: &str) {
        let start = Instant::now();
        while runs(pid) {
            assert!(start.elapsed() < LONG, "process {pid} still runs");
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn output_is_complete_when_the_end_is_told_and_no_more_than_the_limit() {
        for _ in 0..20 {
            let child = spawn("printf 12345678", 4);
            assert_eq!(child.wait(LONG).unwrap().unwrap().code(), Some(0));
            assert_eq!(child.output_so_far(0), b"1234");
        }
        let child = spawn("head -c 1000000 /dev/zero; exit 7", usize::MAX);
        assert_eq!(child.wait(LONG).unwrap().unwrap().code(), Some(7));
        assert_eq!(child.output(0, LONG).len(), 1_000_000);
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let child = thread::spawn(|| spawn("sleep 0.1; echo alive", 100)).join().unwrap();
        assert_eq!(child.output(0, LONG), b"alive\n");
    }

    #[test]
    fn a_dropped_child_is_killed_with_what_it_started() {
        let child = spawn("sleep 60 & echo $!; wait", 100);
        let grandchild = pid_told(&child);
        assert!(runs(&grandchild));
        drop(child);
        wait_for_end(&grandchild);
    }

    #[test]
    fn what_a_child_leaves_behind_is_ended() {
        let child = spawn("sleep 60 & echo $!", 100);
        assert!(child.wait(LONG).unwrap().unwrap().success());
        wait_for_end(&pid_told(&child));
    }

    #[test]
    fn who_left_the_group_keeps_nobody_waiting() {
        let child = spawn("setsid sleep 3 & echo ended", 100);
        child.wait(LONG).unwrap().unwrap();
        let start = Instant::now();
        assert_eq!(child.output(0, Duration::from_millis(50)), b"ended\n");
        assert!(start.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn the_end_is_asked_for_before_it_is_forced() {
        use std::os::unix::process::ExitStatusExt;
        let willing = spawn("trap 'exit 3' TERM; echo $$; while :; do sleep 0.01; done", 100);
        pid_told(&willing);
        assert_eq!(willing.end(LONG).unwrap().code(), Some(3));
        let stubborn = spawn("trap '' TERM; echo $$; while :; do sleep 0.01; done", 100);
        pid_told(&stubborn);
        assert_eq!(stubborn.end(Duration::from_millis(50)).unwrap().signal(), Some(9));
        assert_eq!(stubborn.end(Duration::ZERO).unwrap().signal(), Some(9), "it ends once");
    }

    #[test]
    fn only_named_descriptors_are_inherited() {
        let ((named, mut to_named), (other, _to_other)) = (io::pipe().unwrap(), io::pipe().unwrap());
        to_named.write_all(b"word\n").unwrap();
        let (named_fd, other_fd) = (named.as_raw_fd(), other.as_raw_fd());
        let script = format!("read word < /dev/fd/{named_fd}; echo $word; test -e /dev/fd/{other_fd} || echo none");
        let (start, output) = sh(&script);
        let child = start.inherit([named_fd]).collect(output, 100).spawn().unwrap();
        assert_eq!(child.output(0, LONG), b"word\nnone\n");
    }

    #[test]
    fn many_at_once_each_have_their_end() {
        let children: Vec<Child> = (0..32).map(|code| spawn(&format!("sleep 0.05; exit {code}"), 0)).collect();
        for (code, child) in children.iter().enumerate() {
            assert_eq!(child.wait(LONG).unwrap().unwrap().code(), Some(code as i32));
        }
    }

    #[test]
    fn what_does_not_start_says_why() {
        let error = Start::new(Command::new("/no/such/program")).spawn().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
