//! How much may be sent before the host says that it was consumed: each sender waits for its own consumer.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::guest::protocol::WINDOW;
use crate::lock;

/// What one command or collection may still send.
pub struct Window {
    state: Mutex<State>,
    grown: Condvar,
}

struct State {
    /// In bytes.
    room: u32,
    /// How many threads wait for room.
    waiting: u32,
}

impl Window {
    /// Takes `cost` bytes of room, once there is as much.
    pub fn take(&self, cost: u32) {
        let mut state = lock(&self.state);
        state.waiting += 1;
        while state.room < cost {
            state = self.grown.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
        state.room -= cost;
    }

    /// Whether somebody waits for the host.
    pub fn is_full(&self) -> bool {
        lock(&self.state).waiting > 0
    }

    fn grow(&self, bytes: u32) {
        let mut state = lock(&self.state);
        state.room = state.room.saturating_add(bytes).min(WINDOW);
        self.grown.notify_all();
    }
}

/// The windows of all that send, by number.
#[derive(Clone, Default)]
pub struct Windows(Arc<Mutex<HashMap<u32, Arc<Window>>>>);

impl Windows {
    /// A whole window for the sender `id`.
    pub fn open(&self, id: u32) -> Arc<Window> {
        let state = Mutex::new(State { room: WINDOW, waiting: 0 });
        let window = Arc::new(Window { state, grown: Condvar::new() });
        lock(&self.0).insert(id, Arc::clone(&window));
        window
    }

    /// The sender `id` will send no more.
    pub fn close(&self, id: u32) {
        lock(&self.0).remove(&id);
    }

    /// The host has consumed so many bytes; of what has ended, that is no news.
    pub fn grow(&self, id: u32, bytes: u32) {
        if let Some(window) = lock(&self.0).get(&id) {
            window.grow(bytes);
        }
    }
}
