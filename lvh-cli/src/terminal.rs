//! The one file that writes to the user's terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Mutex;

use lvh_core::vm::TerminalSize;
use lvh_core::{Events, Progress};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

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
pub(crate) fn output(text: &str) -> io::Result<()> {
    output_bytes(text.as_bytes())
}

/// As [`output`], of text with names of files in it.
pub(crate) fn output_bytes(text: &[u8]) -> io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text)?;
    stdout.flush()
}

/// Our terminal, on which every key is the guest's: as it was before when this is dropped.
#[derive(Debug)]
#[must_use = "dropped, the terminal is as before"]
pub(crate) struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Takes the terminal, where both standard input and standard output are one.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        set(&raw)?;
        Ok(Some(Self { before }))
    }

    /// How large its window is.
    pub(crate) fn size(&self) -> TerminalSize {
        window_size().unwrap_or(TerminalSize { rows: 24, columns: 80 })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no mending.
        let _ = set(&self.before);
    }
}

fn set(settings: &Termios) -> io::Result<()> {
    Ok(tcsetattr(io::stdin(), OptionalActions::Drain, settings)?)
}

/// The size of the window that standard output is shown in, where it is one that tells.
pub(crate) fn window_size() -> Option<TerminalSize> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then(|| TerminalSize { rows: size.ws_row.into(), columns: size.ws_col.into() })
}
