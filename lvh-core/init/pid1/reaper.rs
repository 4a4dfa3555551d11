//! Reaping: PID 1 inherits every orphan.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::guest::protocol::Exit;
use crate::{lock, sys};

/// Whom to tell when a child ends. The lock is also held while a child is started: the standard library reaps a child
/// whose exec failed by itself, and an ended child must not be looked up before it is registered.
static WATCHED: Mutex<Option<HashMap<i32, Sender<Exit>>>> = Mutex::new(None);

/// Starts a child and gives what tells its end.
pub fn watch(start: impl FnOnce() -> io::Result<i32>) -> io::Result<(i32, Receiver<Exit>)> {
    let mut watched = lock(&WATCHED);
    let pid = start()?;
    let (sender, receiver) = channel();
    watched.get_or_insert_default().insert(pid, sender);
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
                // No children at the moment.
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        }
    });
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
