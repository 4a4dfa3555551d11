use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A repository of a registry that is asked for what would have to be built, and may get what was.
#[derive(Debug, Clone)]
pub struct Cache {
    repository: String,
    push: bool,
    given_up: Arc<AtomicBool>,
}

impl Cache {
    /// The cache in `repository`, such as `registry.example.org/team/lvh`. With `push`, what is built goes there.
    pub fn new(repository: impl Into<String>, push: bool) -> Self {
        Self { repository: repository.into(), push, given_up: Arc::default() }
    }

    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    pub(crate) fn takes_builds(&self) -> bool {
        self.push
    }

    /// Asks it no more in this process: one that is down shall cost one wait and one warning.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }
}
