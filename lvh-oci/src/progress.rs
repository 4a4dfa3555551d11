use std::sync::Mutex;

/// How far a download or upload has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes that are here (or there), those of earlier runs included.
    pub done: u64,
    /// Bytes of all blobs of the image.
    pub total: u64,
}

/// Adds up the blobs of one image.
pub(crate) struct Meter<'a> {
    show: &'a (dyn Fn(Progress) + Sync),
    state: Mutex<Progress>,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(total: u64, show: &'a (dyn Fn(Progress) + Sync)) -> Self {
        Self { show, state: Mutex::new(Progress { done: 0, total }) }
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.change(|done| done + bytes);
    }

    /// Takes back what was counted of a blob that begins anew.
    pub(crate) fn take_back(&self, bytes: u64) {
        self.change(|done| done.saturating_sub(bytes));
    }

    fn change(&self, change: impl Fn(u64) -> u64) {
        let mut state = self.state.lock().expect("nothing panics with it");
        state.done = change(state.done).min(state.total);
        (self.show)(*state);
    }
}
