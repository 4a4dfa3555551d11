//! The one file that writes to the user's terminal: the report to stdout, progress to stderr.

use std::io::Write as _;

/// Writes a line of progress; a closed stderr is no reason to fail.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "bench: {line}");
}

/// Writes `text` to stdout.
pub(crate) fn output(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
