//! The one owner of standard output.
//!
//! libtest-mimic has a printer, but it is private and prints other text than libtest: `ignored (why)`,
//! `---- NAME ----`, padded names, JSON without times and ignore reasons. Tools read libtest's; so what is written here
//! is libtest's of Rust 1.95, byte for byte, which `tests/tests/libtest_parity.rs` holds it to.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use lvh_core::{Event, Progress};

use super::args::{Args, Format, RunIgnored};
use super::json::{self, Json};
use super::status::Status;
use super::text::{self, Paint, Pretty, Tally, Terse};
use crate::job::{Instance, Outcome, Verdict};
use crate::test_binary::under_nextest;
use crate::test_events::OutputStream;

/// Shows a run as it goes.
#[derive(Debug)]
pub(crate) struct Printer {
    output: Output,
    layout: Layout,
    paint: Paint,
    show_output: bool,
    tally: Tally,
    failures: Vec<(String, String)>,
    successes: Vec<(String, String)>,
    started: Instant,
}

#[derive(Debug)]
enum Layout {
    Pretty(Pretty),
    Terse(Terse),
    Json(Json),
}

impl Printer {
    /// Prints the head of a run of `instances`.
    pub(crate) fn start(args: &Args, instances: &[Instance], filtered_out: usize) -> Self {
        let layout = Layout::new(args, instances);
        let head = match layout {
            Layout::Json(_) => Json::suite_started(instances.len()),
            _ => text::suite_started(instances.len()),
        };
        // Tests that write at once would write over live lines.
        let mut output = Output::new(instances.len(), !args.nocapture && args.format != Format::Json);
        output.write(head.as_bytes());
        Self {
            output,
            layout,
            paint: Paint(args.color),
            show_output: args.show_output,
            tally: Tally { filtered_out, ..Tally::default() },
            failures: Vec::new(),
            successes: Vec::new(),
            started: Instant::now(),
        }
    }

    /// When [`Self::tick`] wants to be called; none where there is nothing to show.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.output.status.due()
    }

    /// Draws the live lines, if it is time.
    pub(crate) fn tick(&mut self) {
        let _ = io::stderr().write_all(self.output.status.tick().as_bytes());
    }

    /// A test begins.
    pub(crate) fn test_started(&mut self, index: usize, instance: &Instance) {
        self.output.status.started(index, instance);
        let text = match &mut self.layout {
            Layout::Pretty(pretty) => pretty.test_started(instance),
            Layout::Terse(_) => String::new(),
            Layout::Json(json) => json.test_started(instance),
        };
        self.output.write(text.as_bytes());
    }

    /// A test has run for longer than usual.
    pub(crate) fn test_is_slow(&mut self, instance: &Instance, limit: Duration) {
        let text = match &self.layout {
            Layout::Json(_) => Json::slow(&instance.name),
            Layout::Pretty(_) => text::slow(&instance.name, limit),
            Layout::Terse(_) => return,
        };
        self.output.write(text.as_bytes());
    }

    /// A test wrote something that is to be seen at once.
    pub(crate) fn test_wrote(&mut self, stream: OutputStream, bytes: &[u8]) {
        match stream {
            OutputStream::Stdout => self.output.write(bytes),
            OutputStream::Stderr => self.output.stderr(bytes),
        }
    }

    /// Something that the tests wait for went on.
    pub(crate) fn progress(&mut self, event: &Event) {
        self.output.error(|progress| progress.render(event));
    }

    /// A test has ended.
    pub(crate) fn test_finished(&mut self, index: usize, instance: &Instance, outcome: &Outcome) {
        self.output.status.ended(index);
        let text = match &mut self.layout {
            Layout::Pretty(pretty) => pretty.test_finished(instance, outcome),
            Layout::Terse(terse) => terse.test_finished(instance, outcome),
            Layout::Json(json) => json.test_finished(instance, outcome),
        };
        self.output.write(text.as_bytes());
        if let Some(remark) = &outcome.remark {
            self.progress(&Event::Note(format!("test {} {remark}", instance.name)));
        }
        self.count(instance, outcome);
    }

    /// Something about the run that is none of its results: for standard error.
    pub(crate) fn aside(&mut self, text: &str) {
        self.output.stderr(text.as_bytes());
    }

    /// Prints the summary; whether all went well.
    #[must_use = "it decides the exit code"]
    pub(crate) fn finish(&mut self) -> bool {
        let duration = self.started.elapsed();
        let text = match &self.layout {
            Layout::Json(_) => Json::suite_finished(&self.tally, duration),
            _ => self.summary(duration),
        };
        self.output.write(text.as_bytes());
        self.tally.failed == 0
    }

    fn count(&mut self, instance: &Instance, outcome: &Outcome) {
        match outcome.verdict {
            Verdict::Passed => {
                self.tally.passed += 1;
                self.successes.push((instance.name.clone(), outcome.block()));
            }
            Verdict::Failed { .. } => {
                self.tally.failed += 1;
                let block = self.failure_block(outcome);
                self.failures.push((instance.name.clone(), block));
            }
            Verdict::Ignored { .. } => self.tally.ignored += 1,
        }
    }

    /// What the summary shows of a failure. nextest has nothing captured and shows standard error last: there the panic is, and
    /// the whole block goes. What nextest looks for on standard output is there too.
    fn failure_block(&mut self, outcome: &Outcome) -> String {
        let Verdict::Failed { message, head, .. } = &outcome.verdict else { return outcome.block() };
        if head.is_empty() || !under_nextest() {
            return outcome.block();
        }
        self.output.stderr(format!("\n{}", outcome.block()).as_bytes());
        message.as_ref().map(|message| format!("note: {message}\n")).unwrap_or_default()
    }

    fn summary(&self, duration: Duration) -> String {
        let mut text = String::new();
        if self.show_output {
            text += &text::section("successes", &self.successes);
        }
        if !self.failures.is_empty() {
            text += &text::section("failures", &self.failures);
        }
        text + &text::result_line(self.paint, &self.tally, duration)
    }
}

impl Layout {
    fn new(args: &Args, instances: &[Instance]) -> Self {
        let &Args { report_time, show_output, nocapture, .. } = args;
        let (paint, parallel) = (Paint(args.color), args.test_threads > 1);
        match args.format {
            Format::Pretty => {
                Self::Pretty(Pretty { paint, parallel, report_time, ignores: args.ignored == RunIgnored::No })
            }
            Format::Terse => Self::Terse(Terse::new(paint, instances.len())),
            Format::Json if nocapture => Self::Json(Json::new(report_time, show_output).with_case_events(instances)),
            Format::Json => Self::Json(Json::new(report_time, show_output)),
        }
    }
}

/// The whole of `--list`, in libtest's three forms.
pub(crate) fn listing(instances: &[Instance], format: Format) -> String {
    match format {
        Format::Json => json::discovery(instances),
        Format::Terse => text::listing(instances, true),
        Format::Pretty => text::listing(instances, false),
    }
}

/// Prints a text that is no run: a listing, the help.
pub(crate) fn print(text: &str) {
    Output::new(0, false).write(text.as_bytes());
}

/// Standard output, until its reader has gone away, and the live line on standard error that must not mix with it.
#[derive(Debug)]
struct Output {
    broken: bool,
    progress: Progress,
    status: Status,
}

impl Output {
    /// For a run of `total` tests, with live lines if they are `wanted`.
    fn new(total: usize, wanted: bool) -> Self {
        Self { broken: false, progress: Progress::for_stderr(), status: Status::for_stderr(total, wanted) }
    }
}

impl Output {
    /// Writes at once, so that a test that writes to the same terminal comes after. Whoever closed the pipe
    /// (`| head`) wants no more text, and no panic either.
    fn write(&mut self, bytes: &[u8]) {
        self.clear();
        let mut stdout = io::stdout().lock();
        self.broken = self.broken || stdout.write_all(bytes).and_then(|()| stdout.flush()).is_err();
    }

    /// Writes whole lines, or what a test wrote to its standard error.
    fn stderr(&mut self, bytes: &[u8]) {
        self.clear();
        let _ = io::stderr().write_all(bytes);
    }

    /// Writes what the progress display says; nobody listening is no failure.
    fn error(&mut self, text: impl FnOnce(&mut Progress) -> String) {
        let text = text(&mut self.progress);
        if !text.is_empty() {
            let _ = io::stderr().write_all((self.status.erase().to_owned() + &text).as_bytes());
        }
    }

    /// Takes away what is live: something that stays follows.
    fn clear(&mut self) {
        let text = self.status.erase().to_owned() + &self.progress.clear();
        let _ = io::stderr().write_all(text.as_bytes());
    }
}
