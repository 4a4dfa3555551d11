//! The post-run reports of a run whose `main` is libtest's: it ends the process itself, so they are made on its way out.

use std::env;
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::guest_mode::FAILURE;
use crate::job::TestResult;
use crate::report::{self, Shown};
use crate::settings::HarnessSettings;

/// What has ended so far.
static RESULTS: Mutex<Vec<TestResult>> = Mutex::new(Vec::new());
/// What the reports go by, and whether tests write to standard error themselves.
static SETTINGS: OnceLock<(&'static HarnessSettings, bool)> = OnceLock::new();

/// Keeps a result for the reports.
pub(super) fn keep(result: TestResult, settings: &'static HarnessSettings, live: bool) {
    if SETTINGS.set((settings, live)).is_ok() {
        // SAFETY: a function that lives as long as the process.
        unsafe { libc::atexit(tell) };
    }
    RESULTS.lock().unwrap_or_else(PoisonError::into_inner).push(result);
}

extern "C" fn tell() {
    let Some(&(settings, live)) = SETTINGS.get() else { return };
    let mut results = std::mem::take(&mut *RESULTS.lock().unwrap_or_else(PoisonError::into_inner));
    results.sort_by(|a, b| a.instance.name.cmp(&b.instance.name));
    let shown = Shown { in_full: !is_brief(env::args()), live };
    let aside = |text: &str| drop(io::stderr().write_all(text.as_bytes()));
    if !report::tell(&results, shown, settings.junit.as_deref(), aside) {
        // SAFETY: ends the process, whose output libtest has flushed.
        unsafe { libc::_exit(i32::from(FAILURE)) };
    }
}

/// Whether libtest was asked for less than a line for each test, or for what programs read.
fn is_brief(mut arguments: impl Iterator<Item = String>) -> bool {
    arguments.any(|argument| argument == "-q" || argument == "--quiet" || argument.starts_with("--format"))
}

#[cfg(test)]
mod tests {
    use super::is_brief;

    #[test]
    fn who_wants_less_gets_no_table() {
        let brief = |arguments: &[&str]| is_brief(arguments.iter().map(|&argument| argument.to_owned()));
        assert!(brief(&["t", "-q"]) && brief(&["t", "x", "--quiet"]) && brief(&["t", "--format=json"]));
        assert!(!brief(&["t", "--exact", "quiet"]));
    }
}
