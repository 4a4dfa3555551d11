//! What stands around the output of a test that failed: what happened and what the kernel said; what it ran on, how to run it
//! again.

use std::fmt::Write;

use lvh_core::config::KernelEventKind;
use lvh_core::vm::KernelEvent;
use lvh_core::{HostContext, Moved};

use super::ending::{Ending, Ran};
use super::hints;
use super::kernel_log::KernelLog;
use super::rerun::rerun_command;
use super::shorten::{shorten, shorten_around};
use crate::job::{Instance, beginning, readable};
use crate::record::Record;
use crate::test_binary::moved;

/// What happened, on which kernel, then the kernel's words. `told` is an event that the cause names already. Empty on the host.
pub(super) fn failure_head(instance: &Instance, ending: &Ending, cause: &str, told: Option<&KernelEvent>) -> String {
    let Some(place) = &instance.place else { return String::new() };
    let release = ending.ran.as_ref().map(|ran| format!(" ({})", ran.release)).unwrap_or_default();
    let mut text = format!("failed on {place}{release}: {}\n", readable(beginning(cause.trim_end()).as_bytes()));
    text.push_str(&event_notes(&ending.kernel_log, told));
    text.push_str(&foreign_records(&ending.records));
    text.push_str(&changes_note(ending));
    if let Some(test) = &ending.same_as {
        let _ = writeln!(text, "note: the same kept `{test}` from running, which tells more of it");
    }
    text.push_str(&section("where its threads were", &shorten(own_stacks(&ending.records), 0, 0, None)));
    let stacks = ending.stacks.iter().map(|line| printable(line)).collect();
    text.push_str(&section("where its threads were in the kernel", &shorten(stacks, 0, 0, None)));
    text.push_str(&kernel_section(ending));
    text.push_str(&console_section(ending));
    text
}

/// Where the test's threads were in their own code, those alike together.
fn own_stacks(records: &[Record]) -> Vec<String> {
    let mut groups: Vec<(&[String], Vec<&str>)> = Vec::new();
    for record in records {
        let Record::Stack { thread, frames } = record else { continue };
        match groups.iter_mut().find(|(known, _)| known == frames) {
            Some((_, threads)) => threads.push(thread),
            None => groups.push((frames, vec![thread])),
        }
    }
    let lines = groups.into_iter().flat_map(|(frames, threads)| {
        std::iter::once(threads.join(", ")).chain(frames.iter().map(|frame| format!("  {frame}")))
    });
    lines.map(|line| printable(&line)).collect()
}

/// What helps, below the output. Whole lines; on the host nothing but what spoiled the report.
pub(super) fn failure_details(instance: &Instance, ending: &Ending, cause: &str) -> String {
    if instance.kernel.is_none() {
        return foreign_records(&ending.records);
    }
    let hint = ending.hint.clone().or_else(|| hints::hint(ending, cause));
    let hint = hint.map(|hint| format!("\nhint: {hint}\n")).unwrap_or_default();
    hint + &closing_lines(instance, ending.ran.as_ref())
}

/// How many events get a line of their own: one may bring about many.
const EVENT_NOTES: usize = 5;

fn event_notes(log: &KernelLog, told: Option<&KernelEvent>) -> String {
    let untold: Vec<_> =
        log.events().iter().filter(|event| told.is_none_or(|told| !std::ptr::eq(told, *event))).collect();
    let mut text: String =
        untold.iter().take(EVENT_NOTES).map(|event| format!("note: {}\n", kernel_reported(event))).collect();
    if let more @ 1.. = untold.len().saturating_sub(EVENT_NOTES) + log.more_events() {
        let _ = writeln!(text, "note: and {more} more of such");
    }
    text
}

fn foreign_records(records: &[Record]) -> String {
    let malformed = records.iter().find_map(|record| match record {
        Record::Malformed(line) => Some(line),
        _ => None,
    });
    let note = |line: &String| format!("note: something else wrote to lvh's report pipe: {}\n", quote(line));
    malformed.map(note).unwrap_or_default()
}

/// What the kernel sets itself when it reports an oops.
const BY_AN_OOPS: [&str; 2] = ["`/sys/kernel/tracing/tracing_on` is ", "`kernel.printk` is "];

/// What the tests after it would have found.
fn changes_note(ending: &Ending) -> String {
    if ending.changes.is_empty() {
        return String::new();
    }
    let oops = ending.kernel_log.events().iter().any(|event| event.kind == KernelEventKind::Oops);
    let changes = ending.changes.iter().filter(|change| !(oops && BY_AN_OOPS.iter().any(|by| change.starts_with(by))));
    let lines: String = changes.map(|change| format!("  {}\n", printable(change))).collect();
    format!("note: its VM is not as it was, and no other test runs in it:\n{lines}")
}

/// A guest may say anything: nothing of it reaches the terminal's control.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The beginning of what may be of any length.
fn quote(text: &str) -> String {
    const LENGTH: usize = 200;
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{:?} and {} more bytes", &text[..end], text.len() - end),
        None => format!("{text:?}"),
    }
}

/// What the kernel logged, as far as the console does not say it too.
fn kernel_section(ending: &Ending) -> String {
    let log = ending.kernel_log.lines(&ending.console);
    let (repeated, left_out) = (ending.kernel_log.repeated(), ending.kernel_log.left_out());
    let count = log.len() + repeated + left_out;
    let file = log_file(ending, "kernel.log");
    let lines = if count == 1 { "1 line".to_owned() } else { format!("{count} lines") };
    let causes = ending.kernel_log.first_of_each_kind();
    section(&format!("kernel log ({lines})"), &shorten_around(log, &causes, repeated, left_out, file.as_deref()))
}

fn console_section(ending: &Ending) -> String {
    let lines = ending.console.lines().map(|line| ending.kernel_log.since_begin(line)).collect();
    section("console", &shorten(lines, 0, 0, log_file(ending, "console.log").as_deref()))
}

fn section(title: &str, lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("\n---- {title} ----\n{}\n", lines.join("\n")) }
}

fn log_file(ending: &Ending, name: &str) -> Option<String> {
    Some(ending.ran.as_ref()?.logs.as_ref()?.join(name).display().to_string())
}

/// What may have left something behind that it found: the last ones are told.
fn earlier_tests(before: &[String]) -> String {
    const TOLD: usize = 3;
    let told: Vec<String> = before.iter().rev().take(TOLD).map(|test| format!("`{test}`")).collect();
    match before.len().saturating_sub(TOLD) {
        _ if told.is_empty() => String::new(),
        0 => format!("ran before in this VM: {}\n", told.join(", ")),
        more => format!("ran before in this VM: {} and {more} more\n", told.join(", ")),
    }
}

/// What it ran on, its logs, and how to run it again.
fn closing_lines(instance: &Instance, ran: Option<&Ran>) -> String {
    let mut text = "\n".to_owned();
    if let Some(Ran { vm, kernel, logs, core, output, before, .. }) = ran {
        let _ = writeln!(text, "kernel: {vm}\nfrom: {}", short_digests(kernel));
        text.push_str(&earlier_tests(before));
        if let Some(logs) = logs {
            let _ = writeln!(text, "log: {0}/kernel.log\nconsole: {0}/console.log", logs.display());
        }
        if let Some(output) = output {
            let _ = writeln!(text, "output: {}", output.display());
        }
        match core {
            Some(Ok(core)) => {
                let exe = std::env::current_exe().unwrap_or_default();
                let _ = writeln!(text, "core: gdb {} {}", exe.display(), core.display());
            }
            Some(Err(why)) => {
                let _ = writeln!(text, "core: none, because {why}");
            }
            None => {}
        }
        text.push_str(&missing_places());
    }
    let _ = writeln!(text, "run it again: {}", rerun_command(instance));
    text
}

/// What the test binary was built in, where that is not on this machine and nothing takes its place.
fn missing_places() -> String {
    let moved = HostContext::here().map(|context| moved(&context)).unwrap_or_default();
    let missing = moved.iter().filter(|moved| moved.to.is_none());
    missing
        .map(|Moved { from, .. }| format!("missing: {}, which this test binary was built in\n", from.display()))
        .collect()
}

/// Digests as people compare them.
fn short_digests(text: &str) -> String {
    const SHOWN: usize = 12;
    let short = |word: &str| match word.split_once("sha256:") {
        Some((before, digest)) if digest.len() > SHOWN && digest.is_char_boundary(SHOWN) => {
            format!("{before}sha256:{}…", &digest[..SHOWN])
        }
        _ => word.to_owned(),
    };
    text.split(' ').map(short).collect::<Vec<_>>().join(" ")
}

/// What a message says of an event.
pub(super) fn kernel_reported(event: &KernelEvent) -> String {
    format!("the kernel reported {event}")
}

#[cfg(test)]
mod tests {
    use super::{failure_details, failure_head, kernel_reported, short_digests};
    use crate::case::Options;
    use crate::job::examples::instance;
    use crate::record::Record;
    use crate::verdict::ending::example as ran;
    use crate::verdict::kernel_log::tests::log;
    use crate::verdict::{Ending, Ran};

    const WARNING: &str = "4,1,1000000,-;WARNING: CPU: 0 PID: 9 at f.c:1 g+0x1/0x2\n";

    /// What stands before the output of a test on 6.1 that ended so.
    fn head(ending: &Ending) -> String {
        let head = failure_head(&instance("t", "t::6.1", Some("6.1"), Options::DEFAULT), ending, "why", None);
        head.strip_prefix("failed on 6.1: why\n").unwrap_or(&head).to_owned()
    }

    /// What stands after it.
    fn details(ending: &Ending) -> String {
        failure_details(&instance("t", "t::6.1", Some("6.1"), Options::DEFAULT), ending, "why")
    }

    fn ending() -> Ending {
        Ending::lost("why")
    }

    #[test]
    fn what_is_not_known_has_no_section() {
        assert_eq!(head(&ending()), "");
        assert!(details(&ending()).starts_with("\nrun it again: "));
    }

    #[test]
    fn the_first_line_names_kernel_and_cause() {
        let text = head(&Ending { ran: Some(ran()), ..ending() });
        assert_eq!(text, "failed on 6.1 (6.1.0-50-amd64): why\n");
    }

    #[test]
    fn the_first_line_is_for_people() {
        let first =
            |cause: &str| failure_head(&instance("t", "t::6.1", Some("6.1"), Options::DEFAULT), &ending(), cause, None);
        assert_eq!(first("a\x1b[2J\0\nb\n"), "failed on 6.1: a\\u{1b}[2J\\u{0}\nb\n");
        let lines = first(&"x\n".repeat(1000));
        assert!(lines.lines().count() == 40 && lines.ends_with("x… and 1920 more bytes\n"), "{lines}");
        let long = first(&"ä".repeat(10_000));
        assert!(long.ends_with("ä… and 15904 more bytes\n"), "{long}");
    }

    #[test]
    fn events_are_notes() {
        let text = head(&Ending { kernel_log: log(&WARNING.repeat(7)), ..ending() });
        let note = "note: the kernel reported a warning (WARNING: CPU: 0 PID: 9 at f.c:1 g+0x1/0x2)\n";
        assert!(text.starts_with(&(note.repeat(5) + "note: and 2 more of such\n\n---- kernel log")), "{text}");
    }

    #[test]
    fn an_event_that_the_cause_names_is_no_note() {
        let ending = Ending { kernel_log: log(&WARNING.repeat(2)), ..ending() };
        let told = &ending.kernel_log.events()[0];
        let text = failure_head(&instance("t", "t::6.1", Some("6.1"), Options::DEFAULT), &ending, "why", Some(told));
        assert_eq!(text.matches(&kernel_reported(told)).count(), 1, "{text}");
    }

    #[test]
    fn what_else_came_through_the_report_pipe_is_quoted() {
        let note = |line: String| head(&Ending { records: vec![Record::Malformed(line)], ..ending() });
        assert_eq!(note("a\tb".into()), "note: something else wrote to lvh's report pipe: \"a\\tb\"\n");
        let long = note("x".repeat(203));
        assert!(long.ends_with(&format!("{:?} and 3 more bytes\n", "x".repeat(200))), "{long}");
    }

    #[test]
    fn where_it_hung_comes_before_the_kernels_words() {
        let stack = |thread: &str, frame: &str| Record::Stack { thread: thread.into(), frames: vec![frame.into()] };
        let records = vec![stack("thread `t` (9)", "f at a.rs:1"), stack("b", "g"), stack("c", "g"), Record::Explained];
        let own = "\n---- where its threads were ----\nthread `t` (9)\n  f at a.rs:1\nb, c\n  g\n";
        assert_eq!(head(&Ending { records, ..ending() }), own);
        let stacks = vec!["thread `t` (9): sleeps".to_owned(), "  f+0x1/0x2".to_owned()];
        let text = head(&Ending { stacks, kernel_log: log("4,1,1000000,-;x\n"), ..ending() });
        let first = "\n---- where its threads were in the kernel ----\nthread `t` (9): sleeps\n  f+0x1/0x2\n\n---- kernel log (1 line)";
        assert!(text.starts_with(first), "{text}");
    }

    #[test]
    fn who_tells_more_is_named() {
        let text = head(&Ending { same_as: Some("first".into()), ..ending() });
        assert_eq!(text, "note: the same kept `first` from running, which tells more of it\n");
    }

    #[test]
    fn the_kernels_log_is_counted() {
        let text = |records: &str| head(&Ending { kernel_log: log(records), ..ending() });
        let two = "\n---- kernel log (2 lines) ----\n[    1.000000] x\n[    1.100000] y\n";
        assert_eq!(text("4,1,1000000,-;x\n4,2,1100000,-;y\n"), two);
        assert_eq!(text("4,1,1000000,-;x\n"), "\n---- kernel log (1 line) ----\n[    1.000000] x\n");
        let flood = text(&"6,1,1,-;x\n".repeat(1002));
        assert!(flood.starts_with("\n---- kernel log (1002 lines) ----\n") && flood.lines().count() < 100, "{flood}");
    }

    #[test]
    fn the_console_is_not_repeated_and_has_the_same_times() {
        let kernel_log = log("14,1,1000000,-;lvh: test t begins\n4,1,1050000,-;before\n4,2,1100000,-;BUG: x\n");
        let console = "[    1.100000] BUG: x\n[    1.200000] end\nlvh-init: word".to_owned();
        let expected = "note: the kernel reported an oops (BUG: x)\n\n---- kernel log (1 line) ----\n[+0.050000] \
                        before\n\n---- console ----\n[+0.100000] BUG: x\n[+0.200000] end\nlvh-init: word\n";
        assert_eq!(head(&Ending { kernel_log, console, ..ending() }), expected);
    }

    #[test]
    fn the_vm_its_logs_and_the_core_are_named() {
        let text = |ran: Ran| details(&Ending { ran: Some(ran), ..ending() });
        let vm = "\nkernel: 6.1.0-50-amd64 (6.1, tcg)\nfrom: linux-image 6.1-1 sha256:0123456789ab…\n";
        assert!(text(ran()).starts_with(&format!("{vm}run it again: ")));
        let logs = Ran { logs: Some("/t/6.1".into()), output: Some("/t/6.1/t/output.log".into()), ..ran() };
        let lines = format!("{vm}log: /t/6.1/kernel.log\nconsole: /t/6.1/console.log\noutput: /t/6.1/t/output.log\n");
        assert!(text(logs.clone()).starts_with(&format!("{lines}run it again: ")));
        let before = |count: usize| (1..=count).map(|test| format!("t{test}")).collect();
        let three = text(Ran { before: before(3), ..ran() });
        assert!(three.starts_with(&format!("{vm}ran before in this VM: `t3`, `t2`, `t1`\nrun it again: ")), "{three}");
        let five = text(Ran { before: before(5), ..ran() });
        assert!(five.contains("\nran before in this VM: `t5`, `t4`, `t3` and 2 more\n"), "{five}");
        let all = text(Ran { core: Some(Ok("/t/6.1/t/core".into())), ..logs.clone() });
        assert!(all.starts_with(&format!("{lines}core: gdb ")), "{all}");
        assert!(all.contains(" /t/6.1/t/core\nrun it again: ") && all.ends_with(" --exact t::6.1\n"), "{all}");
        let none = text(Ran { core: Some(Err("it is too large".into())), ..logs });
        assert!(none.contains("\ncore: none, because it is too large\nrun it again: "), "{none}");
    }

    #[test]
    fn hints_come_before_the_logs() {
        let text = details(&Ending { hint: Some("mend it".into()), ran: Some(ran()), ..ending() });
        assert!(text.starts_with("\nhint: mend it\n\nkernel: "), "{text}");
    }

    #[test]
    fn on_the_host_there_is_no_vm_to_tell_of() {
        let host = instance("t", "t", None, Options::DEFAULT);
        let ending = Ending { kernel_log: log("4,1,1,-;x\n"), console: "y".into(), ran: Some(ran()), ..ending() };
        assert_eq!(
            (failure_head(&host, &ending, "why", None), failure_details(&host, &ending, "why")),
            Default::default()
        );
    }

    #[test]
    fn digests_are_short() {
        assert_eq!(short_digests("a sha256:0123"), "a sha256:0123");
        assert_eq!(short_digests("a@sha256:0123456789abcdef b"), "a@sha256:0123456789ab… b");
    }
}
