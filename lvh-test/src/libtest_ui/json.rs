//! libtest's JSON events, one per line.
//!
//! rust-analyzer's test explorer knows a case by its path alone and would never hear of `module::name::6.12`. It is the
//! one consumer that asks for JSON and `--nocapture` at once; for it a case with several instances gets events under
//! its path too: `started` with the first instance, and one result when the last has ended. The suite's counts are of
//! instances, and without `--nocapture` so are the events, so that tools that count either see no test twice.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

use super::text::Tally;
use crate::job::{Instance, Outcome, Verdict};

/// The writer of events.
#[derive(Debug)]
pub(crate) struct Json {
    /// Whether results carry `exec_time`.
    report_time: bool,
    /// Whether passing tests show their output.
    show_output: bool,
    /// Cases with several instances, by path; empty unless they get events of their own.
    cases: HashMap<String, CaseProgress>,
}

/// How far a case with several instances is.
#[derive(Debug, Default)]
struct CaseProgress {
    instances: usize,
    started: bool,
    ended: usize,
    passed: bool,
    failures: String,
}

impl Json {
    pub(crate) fn new(report_time: bool, show_output: bool) -> Self {
        Self { report_time, show_output, cases: HashMap::new() }
    }

    /// Emits events for whole cases too; see the module's documentation.
    pub(crate) fn with_case_events(mut self, instances: &[Instance]) -> Self {
        for instance in instances {
            self.cases.entry(instance.path.clone()).or_default().instances += 1;
        }
        self.cases.retain(|_, case| case.instances > 1);
        self
    }

    pub(crate) fn suite_started(count: usize) -> String {
        format!("{{ \"type\": \"suite\", \"event\": \"started\", \"test_count\": {count} }}\n")
    }

    pub(crate) fn test_started(&mut self, instance: &Instance) -> String {
        let mut text = String::new();
        if let Some(case) = self.cases.get_mut(&instance.path).filter(|case| !case.started) {
            case.started = true;
            text += &started_event(&instance.path);
        }
        text + &started_event(&instance.name)
    }

    pub(crate) fn test_finished(&mut self, instance: &Instance, outcome: &Outcome) -> String {
        let time = self.report_time.then_some(outcome.duration);
        let text = result_event(&instance.name, outcome, time, self.show_output);
        text + &self.case_finished(instance, outcome).unwrap_or_default()
    }

    pub(crate) fn suite_finished(tally: &Tally, duration: Duration) -> String {
        let Tally { passed, failed, ignored, filtered_out } = tally;
        let event = if *failed == 0 { "ok" } else { "failed" };
        let seconds = duration.as_secs_f64();
        format!(
            "{{ \"type\": \"suite\", \"event\": \"{event}\", \"passed\": {passed}, \"failed\": {failed}, \"ignored\": \
             {ignored}, \"measured\": 0, \"filtered_out\": {filtered_out}, \"exec_time\": {seconds} }}\n"
        )
    }

    pub(crate) fn slow(name: &str) -> String {
        format!("{{ \"type\": \"test\", \"event\": \"timeout\", \"name\": \"{}\" }}\n", escape(name))
    }

    /// Counts an instance towards its case; the case's result with the last one.
    fn case_finished(&mut self, instance: &Instance, outcome: &Outcome) -> Option<String> {
        let case = self.cases.get_mut(&instance.path)?;
        case.ended += 1;
        case.passed |= outcome.verdict == Verdict::Passed;
        if let Verdict::Failed { message, head, details } = &outcome.verdict {
            let _ = writeln!(case.failures, "failed: {}", instance.name);
            case.failures += &match head.is_empty() {
                true => stdout(outcome, message.as_deref(), details),
                false => outcome.block(),
            };
        }
        (case.ended == case.instances).then(|| case.result_event(&instance.path))
    }
}

impl CaseProgress {
    fn result_event(&self, path: &str) -> String {
        let event = match self {
            Self { failures, .. } if !failures.is_empty() => "failed",
            Self { passed: true, .. } => "ok",
            _ => "ignored",
        };
        test_event(path, event, &optional("stdout", &self.failures))
    }
}

/// `--list --format json`.
pub(crate) fn discovery(instances: &[Instance]) -> String {
    let mut text = String::from("{ \"type\": \"suite\", \"event\": \"discovery\" }\n");
    for instance in instances {
        text += &discovered_event(instance);
    }
    let total = instances.len();
    let ignored = instances.iter().filter(|instance| instance.ignore.is_some()).count();
    let _ = writeln!(
        text,
        "{{ \"type\": \"suite\", \"event\": \"completed\", \"tests\": {total}, \"benchmarks\": 0, \"total\": {total}, \
         \"ignored\": {ignored} }}"
    );
    text
}

/// The registry knows the line of the attribute and no columns.
fn discovered_event(instance: &Instance) -> String {
    let (name, file, line) = (escape(&instance.name), escape(&instance.file), instance.line);
    let (ignore, reason) = (instance.ignore.is_some(), escape(instance.ignore.as_deref().unwrap_or_default()));
    format!(
        "{{ \"type\": \"test\", \"event\": \"discovered\", \"name\": \"{name}\", \"ignore\": {ignore}, \
         \"ignore_message\": \"{reason}\", \"source_path\": \"{file}\", \"start_line\": {line}, \"start_col\": 1, \
         \"end_line\": {line}, \"end_col\": 1 }}\n"
    )
}

fn started_event(name: &str) -> String {
    format!("{{ \"type\": \"test\", \"event\": \"started\", \"name\": \"{}\" }}\n", escape(name))
}

fn result_event(name: &str, outcome: &Outcome, time: Option<Duration>, show_output: bool) -> String {
    let time = time.map(|time| format!(", \"exec_time\": {}", time.as_secs_f64())).unwrap_or_default();
    match &outcome.verdict {
        Verdict::Passed => {
            let output = if show_output { optional("stdout", &stdout(outcome, None, "")) } else { String::new() };
            test_event(name, "ok", &(time + &output))
        }
        Verdict::Failed { message, head, details } => {
            let text = if head.is_empty() { stdout(outcome, None, details) } else { outcome.block() };
            let output = optional("stdout", &text);
            let message = optional("message", message.as_deref().unwrap_or_default());
            test_event(name, "failed", &(time + &output + &message))
        }
        Verdict::Ignored { reason } => test_event(name, "ignored", &optional("message", reason)),
    }
}

fn test_event(name: &str, event: &str, extra: &str) -> String {
    format!("{{ \"type\": \"test\", \"name\": \"{}\", \"event\": \"{event}\"{extra} }}\n", escape(name))
}

/// A field that is absent where it would be empty.
fn optional(key: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!(", \"{key}\": \"{}\"", escape(value)) }
}

fn stdout(outcome: &Outcome, message: Option<&str>, details: &str) -> String {
    let note = message.map(|message| format!("note: {message}\n")).unwrap_or_default();
    String::from_utf8_lossy(&outcome.output).into_owned() + &note + details
}

/// `text` within the quotes of JSON.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\x08' => escaped.push_str("\\b"),
            '\x0c' => escaped.push_str("\\f"),
            '\0'..='\x1f' | '\x7f' => escaped += &format!("\\u{:04x}", u32::from(c)),
            c => escaped.push(c),
        }
    }
    escaped
}
