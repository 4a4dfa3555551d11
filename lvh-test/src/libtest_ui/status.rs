//! The live lines on a terminal, below what stands there for good: what runs on which kernel, for how long, and how many tests
//! are done. Nothing of it reaches a pipe or a CI's log.

use std::env;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use lvh_core::columns_of_stderr;

use crate::job::Instance;

/// How often the lines are drawn anew, for their seconds.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long nothing else may have been written before they are drawn again: many short tests do not make them flicker.
const QUIET: Duration = Duration::from_millis(50);

/// The most lines; more tests than that at a time are counted.
const LINES: usize = 8;

/// The width of a terminal that does not tell, that of a VT100.
const FALLBACK_WIDTH: usize = 80;

/// The live lines. They stand below the cursor, which stays where it is: whoever writes next writes over them.
#[derive(Debug)]
pub(crate) struct Status {
    shown: bool,
    /// The tests that run: their places in the plan, what they are, since when.
    running: Vec<(usize, String, Instant)>,
    done: usize,
    total: usize,
    drawn: bool,
    /// When they are to be drawn again.
    due: Instant,
}

impl Status {
    /// For a run of `total` tests that print no more than their results; `wanted` unless something else owns the terminal.
    pub(crate) fn for_stderr(total: usize, wanted: bool) -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        Self::new(total, wanted && io::stderr().is_terminal() && !dumb && set("CI").is_none())
    }

    fn new(total: usize, shown: bool) -> Self {
        Self { shown, running: Vec::new(), done: 0, total, drawn: false, due: Instant::now() }
    }

    /// A test begins.
    pub(crate) fn started(&mut self, index: usize, instance: &Instance) {
        let place = instance.place.as_deref().unwrap_or("host");
        self.running.push((index, format!("{place}: {}", instance.path), Instant::now()));
    }

    /// A test has ended.
    pub(crate) fn ended(&mut self, index: usize) {
        self.running.retain(|(running, ..)| *running != index);
        self.done += 1;
    }

    /// When [`Self::tick`] wants to be called; none where there is nothing to show.
    pub(crate) fn due(&self) -> Option<Instant> {
        (self.shown && !self.running.is_empty()).then_some(self.due)
    }

    /// What to write before anything else is.
    pub(crate) fn erase(&mut self) -> &'static str {
        self.due = Instant::now() + QUIET;
        // ECMA-48 ED 0: from the cursor to the end of the screen.
        if std::mem::take(&mut self.drawn) { "\x1b[J" } else { "" }
    }

    /// What to write now; often nothing.
    pub(crate) fn tick(&mut self) -> String {
        let now = Instant::now();
        if self.due().is_none_or(|due| due > now) {
            return String::new();
        }
        self.due = now + INTERVAL;
        self.drawn = true;
        below(&self.lines(now), columns_of_stderr().unwrap_or(FALLBACK_WIDTH))
    }

    fn lines(&self, now: Instant) -> Vec<String> {
        let line = |(_, what, since): &(usize, String, Instant)| {
            format!("{:>5} s  {what}", now.saturating_duration_since(*since).as_secs())
        };
        let mut lines: Vec<String> = self.running.iter().take(LINES).map(line).collect();
        let more = self.running.len().saturating_sub(LINES);
        let more = if more > 0 { format!(", {more} more run") } else { String::new() };
        lines.push(format!("{} of {} tests done{more}", self.done, self.total));
        lines
    }
}

/// Draws `lines` below the cursor and leaves it where it was. `IND` makes room at the bottom of the screen and keeps the column;
/// `DECSC` and `DECRC` keep the place.
fn below(lines: &[String], width: usize) -> String {
    let count = lines.len();
    let room = format!("{}\x1b[{count}A\x1b7", "\x1bD".repeat(count));
    // The last column stays free: some terminals wrap as soon as it is written.
    let fitting = |line: &String| line.chars().take(width.saturating_sub(1)).collect::<String>();
    let text: String = lines.iter().map(|line| format!("\r\n\x1b[K{}", fitting(line))).collect();
    format!("{room}{text}\x1b[J\x1b8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Options;
    use crate::job::examples::instance;

    fn status(shown: bool) -> Status {
        let mut status = Status::new(3, shown);
        status.started(0, &instance("m::t", "m::t::6.1", Some("6.1"), Options::DEFAULT));
        status.started(1, &instance("host", "host", None, Options::DEFAULT));
        status
    }

    #[test]
    fn a_line_for_each_test_that_runs_and_one_for_all() {
        let mut status = status(true);
        let later = Instant::now() + Duration::from_millis(3500);
        assert_eq!(status.lines(later), ["    3 s  6.1: m::t", "    3 s  host: host", "0 of 3 tests done"]);
        status.ended(0);
        assert_eq!(status.lines(later)[1..], ["1 of 3 tests done"]);
        (2..12).for_each(|index| status.started(index, &instance("t", "t", None, Options::DEFAULT)));
        assert_eq!((status.lines(later).len(), status.lines(later)[8].as_str()), (9, "1 of 3 tests done, 3 more run"));
    }

    #[test]
    fn they_are_drawn_below_the_cursor_and_erased_before_other_text() {
        let mut status = status(true);
        let drawn = status.tick();
        assert!(drawn.starts_with("\x1bD\x1bD\x1bD\x1b[3A\x1b7\r\n\x1b[K    0 s  6.1: m::t\r\n"), "{drawn:?}");
        assert!(drawn.ends_with("tests done\x1b[J\x1b8"), "{drawn:?}");
        // Not again within the same second.
        assert_eq!((status.tick().as_str(), status.erase(), status.erase()), ("", "\x1b[J", ""));
        assert!(status.due().is_some_and(|due| due > Instant::now()));
    }

    #[test]
    fn a_pipe_gets_nothing() {
        let mut status = status(false);
        assert_eq!((status.tick().as_str(), status.erase(), status.due()), ("", "", None));
    }

    #[test]
    fn lines_fit_the_terminal() {
        assert_eq!(below(&["0123456789".to_owned()], 5), "\x1bD\x1b[1A\x1b7\r\n\x1b[K0123\x1b[J\x1b8");
    }
}
