//! The one error type of the crate.

use std::error::Error as StdError;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A result whose error is [`struct@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What part of the work failed; tools map it to exit codes and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Bad input: configuration, names, flags.
    Usage,
    /// The machine lacks a program or a device.
    Missing,
    /// A kernel or image could not be fetched, built or read.
    Artifact,
    /// The VM did not start, or the guest never got ready.
    Boot,
    /// The running guest died or broke the protocol.
    Guest,
    /// The host's operating system refused something.
    Io,
}

/// Why something failed: what, where, and what to do.
///
/// `Display` prints one line without the cause; [`Error::report`] prints the whole chain, the captured output and the
/// hint.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    output: Option<String>,
    hint: Option<String>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl Error {
    /// Makes an error of `kind`; `message` is lower case, without a final period, with values in backticks.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, output: None, hint: None }
    }

    /// An operating system error while doing `what` (for example ``read `x` ``).
    pub fn io(what: impl fmt::Display, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, format!("failed to {what}")).with_source(source)
    }

    /// An operating system error on `path` while doing `verb` (for example `read`).
    pub fn path(verb: &str, path: &Path, source: std::io::Error) -> Self {
        Self::io(format_args!("{verb} `{}`", path.display()), source)
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Adds captured output (a console, a tool's stderr); it is printed last but for the hint.
    #[must_use]
    pub fn with_output(mut self, output: impl Into<String>) -> Self {
        self.output = Some(output.into());
        self
    }

    /// Adds the one line that says how to mend it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says that it is about the `kind` called `name`, such as a kernel, where its message does not have that name yet.
    #[must_use]
    pub(crate) fn about(mut self, kind: &str, name: &str) -> Self {
        let name = format!("`{name}`");
        if !self.message.contains(&name) {
            self.message = format!("{kind} {name}: {}", self.message);
        }
        self
    }

    /// What part of the work failed.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the failed program wrote, where one failed, here or in the nearest cause that has it.
    pub fn output(&self) -> Option<&str> {
        self.innermost().0
    }

    /// The one line that says how to mend it, where we know it, here or in the nearest cause that has it.
    pub fn hint(&self) -> Option<&str> {
        self.innermost().1
    }

    /// The message and all its causes, down to the operating system's words.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = self.source();
        while let Some(inner) = cause {
            text.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        text
    }

    /// The whole story for people: message, causes, captured output between rulers, hint.
    pub fn report(&self) -> String {
        let mut text = self.chain();
        let (output, hint) = self.innermost();
        if let Some(output) = output {
            text.push_str(&format!("\n---- output ----\n{}\n----------------", output.trim_end()));
        }
        if let Some(hint) = hint {
            text.push_str(&format!("\n\nhint: {hint}"));
        }
        text
    }

    /// The output and hint of this error or, where it has none, of the nearest cause that has.
    fn innermost(&self) -> (Option<&str>, Option<&str>) {
        let (mut output, mut hint) = (self.output.as_deref(), self.hint.as_deref());
        let mut cause = self.source();
        while let Some(inner) = cause {
            if let Some(inner) = inner.downcast_ref::<Self>() {
                output = output.or(inner.output.as_deref());
                hint = hint.or(inner.hint.as_deref());
            }
            cause = inner.source();
        }
        (output, hint)
    }
}
