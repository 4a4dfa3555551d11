//! The one file that writes to the user's terminal.

use std::io::Write as _;
use std::sync::Mutex;

use lvh_core::{Events, Progress};

/// Events that show on stderr.
pub(crate) fn events() -> Events {
    let progress = Mutex::new(Progress::for_stderr());
    Events::new(move |event| {
        // A poisoned state only holds what the last line was.
        let mut progress = progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        error(&progress.render(&event));
    })
}

/// Writes `text` to stderr; a closed stderr is no reason to fail.
pub(crate) fn error(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Writes `text` to stdout.
pub(crate) fn output(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
