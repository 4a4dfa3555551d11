//! The thread that starts all children, reads what they say and reaps them.
//!
//! It lives as long as the process: PR_SET_PDEATHSIG fires when the *thread* that spawned ends, and callers may be on
//! threads that come and go.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid};

use super::child::{Child, End, Shared, State};
use super::start::{Pipe, Start};

/// How much is read from one pipe before the next has its turn: what a pipe holds (pipe(7)), so that one read empties it.
const CHUNK: usize = 64 << 10;
/// How often children are looked after whose end does not show by itself: kernels before 5.3 have no pidfd.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// What is to be started, and who is told.
type Order = (Start, Sender<io::Result<Child>>);

/// The keeper, as its customers see it.
struct Keeper {
    orders: Mutex<Sender<Order>>,
    bell: OwnedFd,
}

static KEEPER: LazyLock<io::Result<Keeper>> = LazyLock::new(|| {
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let (orders, queue) = channel();
    let heard = bell.try_clone()?;
    thread::Builder::new().name("lvh-children".to_owned()).spawn(move || keep(&queue, &heard))?;
    Ok(Keeper { orders: Mutex::new(orders), bell })
});

/// Starts a program from the keeper's thread.
pub(super) fn start(program: Start) -> io::Result<Child> {
    let keeper = KEEPER.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    let (answer, child) = channel();
    let order = keeper.orders.lock().unwrap_or_else(PoisonError::into_inner).send((program, answer));
    order.map_err(|_unsent| io::Error::other("the thread that starts programs has ended"))?;
    wake();
    child.recv().map_err(io::Error::other)?
}

/// Has the keeper look at everything.
pub(super) fn wake() {
    if let Ok(keeper) = &*KEEPER {
        // A full counter wakes as well.
        let _ = rustix::io::write(&keeper.bell, &1_u64.to_ne_bytes());
    }
}

fn keep(orders: &Receiver<Order>, bell: &OwnedFd) {
    let (mut children, mut chunk) = (Vec::new(), vec![0; CHUNK]);
    loop {
        wait_for_news(bell, &children);
        for (program, answer) in orders.try_iter() {
            let _ = answer.send(Kept::start(program).map(|(kept, child)| {
                children.push(kept);
                child
            }));
        }
        children.iter_mut().for_each(|child| child.look(&mut chunk));
        children.retain(|child| !child.is_done());
    }
}

/// Waits until the bell rings or a child has said something or ended.
fn wait_for_news(bell: &OwnedFd, children: &[Kept]) {
    let ends = children.iter().filter(|child| child.shared.end().is_none());
    let timeout = if ends.clone().all(|child| child.pidfd.is_some()) { None } else { Some(&LOOK) };
    let ends = ends.filter_map(|child| child.pidfd.as_ref()).map(AsFd::as_fd);
    let pipes = children.iter().flat_map(|child| &child.pipes).flatten().map(|pipe| pipe.reader.as_fd());
    let watched = ends.chain(pipes).chain([bell.as_fd()]);
    let mut watched: Vec<PollFd<'_>> =
        watched.map(|fd: BorrowedFd<'_>| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    // Interrupted: looking once too often does no harm.
    let _ = poll(&mut watched, timeout);
    let _ = rustix::io::read(bell, &mut [0_u8; 8]);
}

/// A child that the keeper looks after.
struct Kept {
    child: process::Child,
    /// Readable when the child has ended.
    pidfd: Option<OwnedFd>,
    /// Those that are still open.
    pipes: Vec<Option<Pipe>>,
    shared: Arc<Shared>,
}

impl Kept {
    fn start(program: Start) -> io::Result<(Self, Child)> {
        let (child, pipes) = program.spawn_here()?;
        let pid = Pid::from_child(&child);
        let shared = Arc::new(Shared::new(pid, pipes.len()));
        let owner = Child::new(shared.clone());
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok();
        Ok((Self { child, pidfd, pipes: pipes.into_iter().map(Some).collect(), shared }, owner))
    }

    /// Reads what there is. What the child said before it ended is there when its end is told.
    fn look(&mut self, chunk: &mut [u8]) {
        let ended = self.shared.end().is_none() && has_ended(self.shared.pid);
        for (number, pipe) in self.pipes.iter_mut().enumerate() {
            if pipe.as_mut().is_some_and(|pipe| read(pipe, number, chunk, &self.shared).is_err()) {
                *pipe = None;
                self.shared.change(|state| state.outputs[number].closed = true);
            }
        }
        if ended {
            // It is not reaped yet, so the group's number is still its own.
            let _ = kill_process_group(self.shared.pid, Signal::KILL);
            self.shared.announce(|| reap(&mut self.child));
        }
    }

    /// Whether it has ended, and nobody waits for more of its output.
    fn is_done(&self) -> bool {
        let silent = self.pipes.iter().all(Option::is_none);
        self.shared.end().is_some() && (silent || self.shared.lock().abandoned)
    }
}

/// Whether the child has ended. It is not reaped.
fn has_ended(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::Pid(pid), options) {
        Ok(status) => status.is_some(),
        Err(error) => error != Errno::INTR,
    }
}

fn reap(child: &mut process::Child) -> End {
    child.wait().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::CHILD))
}

/// Keeps one chunk of what the pipe holds; an error once nothing can come any more.
fn read(pipe: &mut Pipe, number: usize, chunk: &mut [u8], shared: &Shared) -> io::Result<()> {
    match pipe.reader.read(chunk) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => {
            let room = pipe.limit.min(count);
            pipe.limit -= room;
            shared.change(|state: &mut State| state.outputs[number].bytes.extend(&chunk[..room]));
            Ok(())
        }
        Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn an_end_is_seen_without_a_pidfd() {
        let bell = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "exit 5"]);
        let (mut kept, child) = Kept::start(Start::new(command)).unwrap();
        kept.pidfd = None;
        let mut kept = [kept];
        while child.status().unwrap().is_none() {
            wait_for_news(&bell, &kept);
            kept[0].look(&mut []);
        }
        assert_eq!(child.status().unwrap().unwrap().code(), Some(5));
    }
}
