//! Reaping: PID 1 inherits every orphan.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::guest::protocol::Exit;
use crate::{lock, sys};

/// Whom to tell when a child ends. The lock is also held while a child is started: the standard library reaps a child
/// whose exec failed by itself, and an ended child must not be looked up before it is registered.
static WATCHED: Mutex<Option<HashMap<i32, Sender<Exit>>>> = Mutex::new(None);
/// Says that there is a child.
static STARTED: Condvar = Condvar::new();

/// Starts a child and gives what tells its end.
pub fn watch(start: impl FnOnce() -> io::Result<i32>) -> io::Result<(i32, Receiver<Exit>)> {
    let mut watched = lock(&WATCHED);
    let pid = start()?;
    let (sender, receiver) = channel();
    watched.get_or_insert_default().insert(pid, sender);
    STARTED.notify_one();
    Ok((pid, receiver))
}

/// Whether somebody waits for the child `pid`.
pub fn is_watched(pid: i32) -> bool {
    lock(&WATCHED).as_ref().is_some_and(|watched| watched.contains_key(&pid))
}

/// Reaps children for ever, in a thread of its own.
pub fn run() {
    std::thread::spawn(|| {
        loop {
            match sys::wait_for_any() {
                Ok(pid) => reap(pid),
                // Orphans come from children: there will be none before somebody starts one.
                Err(_) => wait_for_a_child(),
            }
        }
    });
}

fn wait_for_a_child() {
    let mut watched = lock(&WATCHED);
    while watched.as_ref().is_none_or(HashMap::is_empty) {
        watched = STARTED.wait(watched).unwrap_or_else(PoisonError::into_inner);
    }
}

fn reap(pid: i32) {
    let mut watched = lock(&WATCHED);
    let Ok(status) = sys::reap(pid) else { return };
    if let Some(sender) = watched.as_mut().and_then(|watched| watched.remove(&pid)) {
        // The receiver is gone only while the VM ends.
        let _ = sender.send(exit(status));
    }
}

/// Reads a wait status as `wait(2)` defines it.
fn exit(status: i32) -> Exit {
    match status & 0x7f {
        0 => Exit::Code { code: status >> 8 & 0xff },
        signal => Exit::Signal { signal, core: status & 0x80 != 0 },
    }
}
