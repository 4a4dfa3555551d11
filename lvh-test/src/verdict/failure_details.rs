//! What helps with a failure, below its message: what the kernel said, what the test ran on, how to run it again.

use std::ffi::OsString;
use std::fmt::Write;

use lvh_core::vm::KernelEvent;
use lvh_core::{HostContext, Moved};

use super::ending::{Ending, Ran};
use super::kernel_log::KernelLog;
use crate::job::Instance;
use crate::record::Record;
use crate::test_binary::{TestBinary, moved};

/// Whole lines, or nothing. `told` is an event that the message names already.
pub(super) fn failure_details(instance: &Instance, ending: &Ending, told: Option<&KernelEvent>) -> String {
    let mut text = event_notes(&ending.kernel_log, told);
    text.push_str(&foreign_records(&ending.records));
    text.push_str(&changes_note(&ending.changes));
    if let Some(kernel) = &instance.kernel {
        text.push_str(&kernel_section(instance, kernel, ending));
        text.push_str(&console_section(instance, &ending.console));
        text.push_str(&closing_lines(&instance.name, ending.ran.as_ref()).unwrap_or_default());
    }
    text
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

/// What the tests after it would have found.
fn changes_note(changes: &[String]) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let lines: String = changes.iter().map(|change| format!("  {}\n", printable(change))).collect();
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
fn kernel_section(instance: &Instance, kernel: &str, ending: &Ending) -> String {
    let mut text = String::new();
    let log = ending.kernel_log.lines(&ending.console);
    if !log.is_empty() {
        let lines = if log.len() == 1 { "1 line".to_owned() } else { format!("{} lines", log.len()) };
        let _ = writeln!(text, "\n---- {} kernel log ({kernel}, {lines}) ----", instance.name);
        for line in log {
            let _ = writeln!(text, "{line}");
        }
    }
    if let more @ 1.. = ending.kernel_log.left_out() {
        let _ = writeln!(text, "[lvh: kernel log cut: {more} more lines]");
    }
    text
}

fn console_section(instance: &Instance, console: &str) -> String {
    if console.is_empty() { String::new() } else { format!("\n---- {} console ----\n{console}\n", instance.name) }
}

/// What it ran on, and how to run it again; what kept it from running at all is told elsewhere, once.
fn closing_lines(name: &str, ran: Option<&Ran>) -> Option<String> {
    let Ran { vm, kernel, logs, core } = ran?;
    let mut text = format!("\nkernel: {vm}\nfrom: {kernel}\n");
    if let Some(logs) = logs {
        let _ = writeln!(text, "logs: {}/{{console,kernel}}.log", logs.display());
    }
    if let Some(core) = core {
        let exe = std::env::current_exe().unwrap_or_default();
        let _ = writeln!(text, "core: gdb {} {}", exe.display(), core.display());
    }
    let missing = HostContext::here().map(|context| moved(&context)).unwrap_or_default();
    for Moved { from, .. } in missing.iter().filter(|moved| moved.to.is_none()) {
        let _ = writeln!(text, "missing: {}, which this test binary was built in", from.display());
    }
    let again = rerun_command(name, TestBinary::of_process().cargo_arguments(), std::env::vars_os());
    let _ = writeln!(text, "run it again: {again}");
    Some(text)
}

/// Cargo and nextest name the package; else the binary itself is the shortest way. What the user set for lvh belongs to
/// the command: it may choose the kernel.
fn rerun_command(name: &str, cargo: Option<String>, variables: impl Iterator<Item = (OsString, OsString)>) -> String {
    let mut settings = Vec::new();
    for (variable, value) in variables {
        let variable = variable.to_string_lossy();
        match &*variable {
            // Another run would replace this one's report, and who runs it once more may want something else of it.
            "LVH_JUNIT" | "LVH_KEEP" | "LVH_GDB" | "LVH_VERBOSE" => {}
            _ if variable.starts_with("LVH_") => {
                settings.push(format!("{variable}={} ", shell_word(&value.to_string_lossy())));
            }
            _ => {}
        }
    }
    settings.sort();
    let program = cargo.map(|arguments| format!("cargo test {arguments} --"));
    let program =
        program.unwrap_or_else(|| shell_word(&std::env::args_os().next().unwrap_or_default().to_string_lossy()));
    format!("{}{program} --exact {}", settings.concat(), shell_word(name))
}

/// `text` as a shell reads it back.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,=+@%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// What a message says of an event.
pub(super) fn kernel_reported(event: &KernelEvent) -> String {
    format!("the kernel reported {event}")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::{failure_details, kernel_reported, rerun_command};
    use crate::case::Options;
    use crate::job::examples::instance;
    use crate::record::Record;
    use crate::verdict::kernel_log::tests::log;
    use crate::verdict::{Ending, Ran};

    const WARNING: &str = "4,1,1000000,-;WARNING: CPU: 0 PID: 9 at f.c:1 g+0x1/0x2\n";

    /// The details of a test on 6.1 that ended so.
    fn details(ending: &Ending) -> String {
        failure_details(&instance("t", "t::6.1", Some("6.1"), Options::DEFAULT), ending, None)
    }

    fn ending() -> Ending {
        Ending::lost("why")
    }

    fn ran(logs: Option<&str>, core: Option<&str>) -> Ran {
        Ran {
            vm: "6.1.0-50-amd64 (6.1, tcg)".to_owned(),
            kernel: "linux-image 6.1-1 sha256:0".to_owned(),
            logs: logs.map(Into::into),
            core: core.map(Into::into),
        }
    }

    #[test]
    fn what_is_not_known_has_no_section() {
        assert_eq!(details(&ending()), "");
    }

    #[test]
    fn events_are_notes() {
        let kernel_log = log(&WARNING.repeat(7));
        let text = details(&Ending { kernel_log, ..ending() });
        let note = "note: the kernel reported a warning (WARNING: CPU: 0 PID: 9 at f.c:1 g+0x1/0x2)\n";
        assert!(text.starts_with(&(note.repeat(5) + "note: and 2 more of such\n\n---- t::6.1 kernel log")), "{text}");
    }

    #[test]
    fn an_event_that_the_message_names_is_no_note() {
        let ending = Ending { kernel_log: log(&WARNING.repeat(2)), ..ending() };
        let told = &ending.kernel_log.events()[0];
        let text = failure_details(&instance("t", "t::6.1", Some("6.1"), Options::DEFAULT), &ending, Some(told));
        assert_eq!(text.matches(&kernel_reported(told)).count(), 1, "{text}");
    }

    #[test]
    fn what_else_came_through_the_report_pipe_is_quoted() {
        let note = |line: String| details(&Ending { records: vec![Record::Malformed(line)], ..ending() });
        assert_eq!(note("a\tb".into()), "note: something else wrote to lvh's report pipe: \"a\\tb\"\n");
        let long = note("x".repeat(203));
        assert!(long.ends_with(&format!("{:?} and 3 more bytes\n", "x".repeat(200))), "{long}");
    }

    #[test]
    fn the_kernels_log_is_counted() {
        let text = |records: &str| details(&Ending { kernel_log: log(records), ..ending() });
        let two = "\n---- t::6.1 kernel log (6.1, 2 lines) ----\n[    1.000000] x\n[    1.100000] y\n";
        assert_eq!(text("4,1,1000000,-;x\n4,2,1100000,-;y\n"), two);
        assert_eq!(text("4,1,1000000,-;x\n"), "\n---- t::6.1 kernel log (6.1, 1 line) ----\n[    1.000000] x\n");
        let flood = text(&"6,1,1,-;x\n".repeat(1002));
        assert!(flood.ends_with("[    0.000001] x\n[lvh: kernel log cut: 2 more lines]\n"), "{flood}");
    }

    #[test]
    fn the_console_is_not_repeated() {
        let kernel_log = log("4,1,1000000,-;before\n4,2,1100000,-;BUG: x\n");
        let console = "[    1.100000] BUG: x\n[ 1.2] end".to_owned();
        let expected = "note: the kernel reported an oops (BUG: x)\n\n---- t::6.1 kernel log (6.1, 1 line) ----\n[    \
                        1.000000] before\n\n---- t::6.1 console ----\n[    1.100000] BUG: x\n[ 1.2] end\n";
        assert_eq!(details(&Ending { kernel_log, console, ..ending() }), expected);
    }

    #[test]
    fn the_vm_its_logs_and_the_core_are_named() {
        let text = |ran: Ran| details(&Ending { ran: Some(ran), ..ending() });
        let vm = "\nkernel: 6.1.0-50-amd64 (6.1, tcg)\nfrom: linux-image 6.1-1 sha256:0\n";
        assert!(text(ran(None, None)).starts_with(&format!("{vm}run it again: ")));
        let logs = format!("{vm}logs: /t/lvh/it/6.1/{{console,kernel}}.log\n");
        assert!(text(ran(Some("/t/lvh/it/6.1"), None)).starts_with(&format!("{logs}run it again: ")));
        let all = text(ran(Some("/t/lvh/it/6.1"), Some("/t/lvh/it/6.1/t/core")));
        assert!(all.starts_with(&format!("{logs}core: gdb ")), "{all}");
        assert!(all.contains(" /t/lvh/it/6.1/t/core\nrun it again: ") && all.ends_with(" --exact t::6.1\n"), "{all}");
    }

    #[test]
    fn on_the_host_there_is_no_vm_to_tell_of() {
        let host = instance("t", "t", None, Options::DEFAULT);
        let ending =
            Ending { kernel_log: log("4,1,1,-;x\n"), console: "y".into(), ran: Some(ran(None, None)), ..ending() };
        assert_eq!(failure_details(&host, &ending, None), "");
    }

    #[test]
    fn the_command_carries_what_chose_the_kernel() {
        let command = |cargo: Option<&str>, variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|&(name, value)| (name.into(), value.into()));
            rerun_command("t::6.1", cargo.map(str::to_owned), variables)
        };
        let set = [
            ("LVH_SHARE", "9p"),
            ("LVH_KEEP", "1"),
            ("LVH_KERNELS", "../a b"),
            ("LVH_JUNIT", "j/"),
            ("LVH_VERBOSE", "1"),
        ];
        let maps = Some("-p maps");
        assert_eq!(command(maps, &set), "LVH_KERNELS='../a b' LVH_SHARE=9p cargo test -p maps -- --exact t::6.1");
        assert!(command(None, &[]).ends_with(" --exact t::6.1"));
    }

    #[test]
    fn a_variable_that_is_no_text_does_no_harm() {
        let odd = OsString::from_vec(vec![b'a', 0xff]);
        let variables = [(odd.clone(), odd.clone()), ("LVH_KERNELS".into(), odd)];
        let command = rerun_command("t", Some("-p maps".into()), variables.into_iter());
        assert_eq!(command, "LVH_KERNELS='a\u{fffd}' cargo test -p maps -- --exact t");
    }
}
