//! What a terminal shows of [`Event`]s: the text only, for a front end to write to stderr.
//!
//! On a terminal one line is rewritten in place; elsewhere each step is a line of its own, and downloads report
//! themselves now and then.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use crate::Event;

/// How often a download may report itself where lines stay.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// How often work that takes many minutes may report itself where lines stay.
const PLAIN_COUNT_INTERVAL: Duration = Duration::from_secs(30);
/// How often the live line is redrawn by a download.
const LIVE_INTERVAL: Duration = Duration::from_millis(100);
/// The width of a terminal that does not tell, that of a VT100.
const FALLBACK_WIDTH: usize = 80;
/// Back to the first column and clear the line: ECMA-48 `CR` and `EL 2`.
const CLEAR: &str = "\r\x1b[2K";

/// Turns events into text, one after the other.
#[derive(Debug)]
pub struct Progress {
    tty: bool,
    width: usize,
    /// The live line as it stands, without the line break; empty where there is none.
    live: String,
    /// What is under way, by subject: several kernels may be fetched side by side.
    under_way: HashMap<String, Step>,
    /// When the live line was drawn.
    drawn: Option<Instant>,
    /// The notes that were shown: every VM finds the same lacks of the machine.
    notes: Vec<String>,
}

/// A step of long work.
#[derive(Debug)]
struct Step {
    name: String,
    /// When it, or its progress, was shown.
    shown: Instant,
}

impl Progress {
    /// Starts with a clean line. `width` is the terminal's, in columns; it only counts where `tty` is set.
    pub fn new(tty: bool, width: usize) -> Self {
        Self { tty, width, live: String::new(), under_way: HashMap::new(), drawn: None, notes: Vec::new() }
    }

    /// Starts with what stderr is now.
    pub fn for_stderr() -> Self {
        let tty = std::io::stderr().is_terminal();
        Self::new(tty, columns_of_stderr().unwrap_or(FALLBACK_WIDTH))
    }

    /// What to write for `event`; often nothing.
    pub fn render(&mut self, event: &Event) -> String {
        self.render_at(event, Instant::now())
    }

    /// What to write before anything else prints to the terminal, and at the end.
    pub fn clear(&mut self) -> String {
        if self.live.is_empty() {
            return String::new();
        }
        self.live.clear();
        CLEAR.to_owned()
    }

    fn render_at(&mut self, event: &Event, now: Instant) -> String {
        match event {
            Event::Step { subject, step } => self.step(subject, step, now),
            Event::Progress { subject, step, done, total } => {
                self.progress(subject, step, progress_line(subject, step, *done, *total), PLAIN_INTERVAL, now)
            }
            Event::Count { subject, step, done, total, detail } => {
                let line = count_line(subject, step, *done, *total, detail);
                self.progress(subject, step, line, PLAIN_COUNT_INTERVAL, now)
            }
            Event::Done { subject, result: line }
            | Event::Resumed { subject, result: line }
            | Event::Times { subject, times: line } => self.done(subject, line),
            Event::Note(line) => self.note(line),
        }
    }

    fn step(&mut self, subject: &str, step: &str, now: Instant) -> String {
        self.under_way.insert(subject.to_owned(), Step { name: step.to_owned(), shown: now });
        self.show(format!("lvh: {subject}: {step}"), now)
    }

    fn progress(&mut self, subject: &str, step: &str, line: String, plain: Duration, now: Instant) -> String {
        let Some(current) = self.under_way.get_mut(subject).filter(|current| current.name == step) else {
            let announced = self.step(subject, step, now);
            return if self.tty { self.show(line, now) } else { announced };
        };
        // A terminal has one line for all.
        let (shown, interval) = if self.tty { (self.drawn, LIVE_INTERVAL) } else { (Some(current.shown), plain) };
        if shown.is_some_and(|shown| now.saturating_duration_since(shown) < interval) {
            return String::new();
        }
        current.shown = now;
        self.show(line, now)
    }

    fn done(&mut self, subject: &str, result: &str) -> String {
        self.under_way.remove(subject);
        format!("{}lvh: {subject}: {result}\n", self.clear())
    }

    /// A note stays, and is shown once; the live line goes on below it.
    fn note(&mut self, line: &str) -> String {
        if self.notes.iter().any(|shown| shown == line) {
            return String::new();
        }
        self.notes.push(line.to_owned());
        let live = std::mem::take(&mut self.live);
        match live.is_empty() {
            true => format!("lvh: {line}\n"),
            false => {
                let text = format!("{CLEAR}lvh: {line}\n{live}");
                self.live = live;
                text
            }
        }
    }

    fn show(&mut self, line: String, now: Instant) -> String {
        self.drawn = Some(now);
        if !self.tty {
            return line + "\n";
        }
        // The last column stays free: some terminals wrap as soon as it is written.
        self.live = line.chars().take(self.width.saturating_sub(1)).collect();
        format!("{CLEAR}{}", self.live)
    }
}

/// The width of the terminal behind stderr, where it is one and tells.
pub fn columns_of_stderr() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Such as ``lvh: kernel `6.12`: downloading 12.5/98.0 MiB (12%)``.
fn progress_line(subject: &str, step: &str, done: u64, total: Option<u64>) -> String {
    match total.filter(|total| *total > 0) {
        Some(total) => {
            let percent = u128::from(done.min(total)) * 100 / u128::from(total);
            format!("lvh: {subject}: {step} {:.1}/{:.1} MiB ({percent}%)", mib(done), mib(total))
        }
        None => format!("lvh: {subject}: {step} {:.1} MiB", mib(done)),
    }
}

/// Such as ``lvh: kernel `bpf-next`: building 512/1800 (28%), kernel/fork.o``. A total that was passed was a wrong estimate.
fn count_line(subject: &str, step: &str, done: u64, total: Option<u64>, detail: &str) -> String {
    let detail = if detail.is_empty() { String::new() } else { format!(", {detail}") };
    match total.filter(|total| *total > 0) {
        Some(total) if done <= total => {
            let percent = u128::from(done) * 100 / u128::from(total);
            format!("lvh: {subject}: {step} {done}/{total} ({percent}%){detail}")
        }
        _ => format!("lvh: {subject}: {step} {done}{detail}"),
    }
}

/// Bytes as MiB; the loss of precision is beyond the printed digit.
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: &str) -> Event {
        Event::Step { subject: "kernel `6.12`".into(), step: step.into() }
    }

    fn progress(mib: u64, total: Option<u64>) -> Event {
        let (subject, step) = ("kernel `6.12`".into(), "downloading".into());
        Event::Progress { subject, step, done: mib << 20, total: total.map(|total| total << 20) }
    }

    fn done() -> Event {
        Event::Done { subject: "kernel `6.12`".into(), result: "6.12.41-amd64".into() }
    }

    /// Feeds events at their milliseconds and joins what comes out, with the clear sequence made visible.
    fn check(tty: bool, width: usize, events: &[(u64, Event)], expected: &[&str]) {
        let start = Instant::now();
        let mut shown = Progress::new(tty, width);
        let texts = events.iter().map(|(ms, event)| shown.render_at(event, start + Duration::from_millis(*ms)));
        let texts: Vec<String> = texts.map(|text| text.replace(CLEAR, "<clear>")).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn plain_lines_are_few() {
        check(
            false,
            0,
            &[
                (0, step("downloading")),
                (100, progress(1, Some(98))),
                (5000, progress(49, Some(98))),
                (9999, progress(60, Some(98))),
                (10_000, progress(98, None)),
                (10_001, done()),
            ],
            &[
                "lvh: kernel `6.12`: downloading\n",
                "",
                "lvh: kernel `6.12`: downloading 49.0/98.0 MiB (50%)\n",
                "",
                "lvh: kernel `6.12`: downloading 98.0 MiB\n",
                "lvh: kernel `6.12`: 6.12.41-amd64\n",
            ],
        );
    }

    #[test]
    fn what_goes_on_side_by_side_is_told_as_seldom() {
        let other = |done: u64| {
            let (subject, step) = ("kernel `6.1`".into(), "downloading".into());
            Event::Progress { subject, step, done: done << 20, total: None }
        };
        let events = [
            (0, progress(1, None)),
            (10, other(1)),
            (150, progress(2, None)),
            (160, other(2)),
            (5100, other(3)),
            (5150, progress(3, None)),
        ];
        let announced = ["lvh: kernel `6.12`: downloading\n", "lvh: kernel `6.1`: downloading\n"];
        let later = ["lvh: kernel `6.1`: downloading 3.0 MiB\n", "lvh: kernel `6.12`: downloading 3.0 MiB\n"];
        check(false, 0, &events, &[announced[0], announced[1], "", "", later[0], later[1]]);
        let live =
            ["6.12`: downloading 1.0", "6.1`: downloading 1.0", "6.12`: downloading 2.0", "6.1`: downloading 3.0"];
        let [first, second, third, last] = live.map(|text| format!("<clear>lvh: kernel `{text} MiB"));
        check(true, 80, &events, &[&first, &second, &third, "", &last, ""]);
    }

    #[test]
    fn progress_without_a_step_announces_it() {
        check(false, 0, &[(0, progress(1, Some(2)))], &["lvh: kernel `6.12`: downloading\n"]);
        check(true, 80, &[(0, progress(1, Some(2)))], &["<clear>lvh: kernel `6.12`: downloading 1.0/2.0 MiB (50%)"]);
    }

    #[test]
    fn counts_report_themselves_seldom() {
        let count = |done, total| {
            let (subject, step, detail) = ("kernel `k`".into(), "building".into(), "fork.o".into());
            Event::Count { subject, step, done, total, detail }
        };
        check(
            false,
            0,
            &[(0, count(1, None)), (29_000, count(5, None)), (30_000, count(7, Some(9))), (60_000, count(10, Some(9)))],
            &[
                "lvh: kernel `k`: building\n",
                "",
                "lvh: kernel `k`: building 7/9 (77%), fork.o\n",
                "lvh: kernel `k`: building 10, fork.o\n",
            ],
        );
    }

    #[test]
    fn a_terminal_has_one_live_line() {
        check(
            true,
            80,
            &[
                (0, step("downloading")),
                (50, progress(1, None)),
                (150, progress(2, None)),
                (160, Event::Note("no KVM".into())),
                (200, done()),
                (210, Event::Note("later".into())),
            ],
            &[
                "<clear>lvh: kernel `6.12`: downloading",
                "",
                "<clear>lvh: kernel `6.12`: downloading 2.0 MiB",
                "<clear>lvh: no KVM\nlvh: kernel `6.12`: downloading 2.0 MiB",
                "<clear>lvh: kernel `6.12`: 6.12.41-amd64\n",
                "lvh: later\n",
            ],
        );
    }

    #[test]
    fn the_live_line_never_wraps() {
        check(true, 10, &[(0, step("downloading"))], &["<clear>lvh: kern"]);
        let mut shown = Progress::new(true, 10);
        assert_eq!(shown.clear(), "");
        shown.render(&step("x"));
        assert_eq!((shown.clear().as_str(), shown.clear().as_str()), (CLEAR, ""));
    }
}
