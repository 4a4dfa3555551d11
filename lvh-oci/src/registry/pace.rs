use std::time::Duration;

use crate::{Error, Options, Result};

/// The longest pause between two tries, unless the registry names one.
const LONGEST: Duration = Duration::from_secs(30);

/// How often something was tried, and how long to wait until it is tried again.
#[derive(Debug)]
pub(super) struct Pace<'a> {
    options: &'a Options,
    failures: u32,
    authenticated: bool,
}

impl<'a> Pace<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Self { options, failures: 0, authenticated: false }
    }

    /// It got further: failures from here on count anew.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
        self.authenticated = false;
    }

    /// Whether the token may be renewed: once, for a second refusal is meant.
    pub(super) fn may_authenticate(&mut self) -> bool {
        !std::mem::replace(&mut self.authenticated, true)
    }

    /// Waits until the next try; gives `error` back when there was the last. `asked` is what the registry wants.
    pub(super) async fn pause(&mut self, error: Error, asked: Option<Duration>) -> Result<()> {
        self.failures += 1;
        if self.failures >= self.options.attempts || asked.is_some_and(|asked| asked > self.options.longest_pause) {
            return Err(match error {
                Error::TooManyRequests { what, .. } => Error::TooManyRequests { what, retry_after: asked },
                error => error,
            });
        }
        let doubled = self.options.first_pause * 2u32.saturating_pow(self.failures - 1);
        tokio::time::sleep(asked.unwrap_or(doubled.min(LONGEST))).await;
        Ok(())
    }
}
