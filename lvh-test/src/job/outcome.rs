//! How a test ended, as the harness shows and counts it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::record::at_most;

/// What the harness shows and counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// What the test wrote.
    pub(crate) output: Vec<u8>,
    /// How long it ran.
    pub(crate) duration: Duration,
    /// The panic that ended it.
    pub(crate) panic: Option<Panic>,
    /// The VM it ran in, in a line that begins with the kernel's release.
    pub(crate) vm: Option<String>,
    /// What must be seen of a test that did not fail; to be read after its name.
    pub(crate) remark: Option<String>,
}

/// Whether the test passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// It did what its attribute promises.
    Passed,
    /// It did not.
    Failed {
        /// Why, where the output alone does not say it.
        message: Option<String>,
        /// What comes before the output: what happened, on which kernel, and the kernel's words. Whole lines; empty for a
        /// test on the host, whose failure looks as libtest's do.
        head: String,
        /// What else helps: what to do, the logs, how to run it again. Whole lines, or empty.
        details: String,
    },
    /// It did not run, or skipped itself.
    Ignored {
        /// Why; may be empty.
        reason: String,
    },
}

/// Where a test panicked, and its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Panic {
    /// The text of the panic.
    pub(crate) message: String,
    /// The source file, as the compiler named it.
    pub(crate) file: String,
    /// The line in it, from 1.
    pub(crate) line: u32,
}

impl Outcome {
    /// That of a test that does not run.
    pub(crate) fn ignored(reason: &str) -> Self {
        let verdict = Verdict::Ignored { reason: reason.to_owned() };
        Self { verdict, output: Vec::new(), duration: Duration::ZERO, panic: None, vm: None, remark: None }
    }

    /// Whether the test failed.
    pub(crate) fn failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed { .. })
    }

    /// What stands under a test's name in the summary.
    pub(crate) fn block(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.output).into_owned();
        let Verdict::Failed { message, head, details } = &self.verdict else { return text };
        if !head.is_empty() {
            return format!("{head}{}{details}", self.output_section());
        }
        let note = message.as_ref().map(|message| format!("note: {message}")).unwrap_or_default();
        for part in [note.as_str(), details] {
            if !part.is_empty() && !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(part);
        }
        text
    }

    /// What the test wrote, with a blank line before it.
    fn output_section(&self) -> String {
        let text = readable(&self.output);
        match text.trim_matches('\n') {
            "" => String::new(),
            output => format!("\n---- output ----\n{output}\n"),
        }
    }

    /// Why the test failed; `None` where it did not.
    pub(crate) fn cause(&self) -> Option<String> {
        let Verdict::Failed { message, .. } = &self.verdict else { return None };
        let panic = self.panic.as_ref().map(|panic| panic.message.clone());
        Some(message.clone().or(panic).or_else(|| self.last_line()).unwrap_or_else(|| "returned a failure".to_owned()))
    }

    /// A test that returns an `Err` prints it last, but for the backtrace that it may carry.
    fn last_line(&self) -> Option<String> {
        let output = String::from_utf8_lossy(&self.output);
        let lines = || output.lines().rev().map(str::trim).filter(|line| !line.is_empty());
        let error = lines().find(|line| line.starts_with("Error: ")).map(str::to_owned);
        error.or_else(|| Some(format!("returned a failure; it wrote last: {}", lines().next()?)))
    }
}

/// The beginning of a cause, which may be of any length: of a panic's message, the rest is in the output.
pub(crate) fn beginning(cause: &str) -> String {
    const BYTES: usize = 4 << 10;
    const LINES: usize = 40;
    let lines = cause.match_indices('\n').nth(LINES - 1).map_or(cause.len(), |(end, _)| end);
    let shown = at_most(BYTES, &cause[..lines]);
    match cause.len() - shown.len() {
        0 => shown.to_owned(),
        rest => format!("{shown}… and {rest} more bytes"),
    }
}

/// What a test wrote as a terminal can show it: colours stay, other control characters are seen as they would be written in
/// Rust's source.
pub(crate) fn readable(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let mut shown = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = rest.find(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
        shown.push_str(&rest[..at]);
        let len = colour(&rest[at..]).unwrap_or(0);
        shown.push_str(&rest[at..at + len]);
        rest = &rest[at + len..];
        if len == 0 {
            let control = rest.chars().next().expect("it was found");
            rest = &rest[control.len_utf8()..];
            // The line end of other systems, and of terminals.
            if !(control == '\r' && rest.starts_with('\n')) {
                shown.extend(control.escape_default());
            }
        }
    }
    shown + rest
}

/// The length of the sequence that `text` begins with, if it sets a colour: ECMA-48's SGR.
fn colour(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|c: char| !(c.is_ascii_digit() || c == ';'))?;
    parameters[end..].starts_with('m').then_some(2 + end + 1)
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn control_characters_can_be_read() {
        let check = |output: &[u8], expected: &str| assert_eq!(readable(output), expected);
        check(b"a\tb\r\nc\n", "a\tb\nc\n");
        check(b"\x1b[1;31mred\x1b[m \x1b[2J\x1b", "\x1b[1;31mred\x1b[m \\u{1b}[2J\\u{1b}");
        check(b"a\0b\x07\rc\xff", "a\\u{0}b\\u{7}\\rc\u{fffd}");
        check("\u{9b}2Jä".as_bytes(), "\\u{9b}2Jä");
    }
}
