//! What the kernel logged while a test ran.

use std::time::Duration;

use lvh_core::config::KernelEventKind;
use lvh_core::vm::{KernelEvent, KernelEvents, KernelRecord};

use crate::guest_mode::start_mark;

/// The most records of one test that are kept; what goes wrong is noticed in the others too.
const LIMIT: usize = 1000;

/// The most events of one test that are kept; of each kind the first one is, in any case.
const EVENT_LIMIT: usize = 100;

/// How long the lines of one report may take.
const REPORT: Duration = Duration::from_millis(500);

/// The log of one test.
#[derive(Debug, Default)]
pub(crate) struct KernelLog {
    records: Vec<KernelRecord>,
    /// How many records came after those that are kept.
    left_out: usize,
    /// When the test's body began, on the kernel's clock.
    began: Option<Duration>,
    finder: KernelEvents,
    events: Vec<KernelEvent>,
    /// How many events came after those that are kept.
    more_events: usize,
    /// When a report began that is told already.
    repeats: Option<Duration>,
    /// How many records such reports had.
    repeated: usize,
}

impl KernelLog {
    /// Takes the next record of the test at `path`.
    pub(crate) fn push(&mut self, path: &str, record: KernelRecord) {
        if self.began.is_none() && record.facility != 0 && record.text.trim_end() == logged(&start_mark(path)) {
            self.began = Some(record.at);
            return;
        }
        if let Some(event) = self.finder.next(&record) {
            self.repeats = self.is_told(&event).then_some(record.at);
            self.push_event(event);
        }
        if self.repeats.is_some_and(|since| record.at.saturating_sub(since) < REPORT) {
            self.repeated += 1;
            return;
        }
        match self.records.len() {
            ..LIMIT => self.records.push(record),
            _ => self.left_out += 1,
        }
    }

    /// Finds what went wrong also in what only the `console` of a dead or silent guest has, from the test's start on.
    pub(crate) fn watch_console(&mut self, console: &str) {
        let Some(began) = self.began else { return };
        for (at, text) in console.lines().filter_map(timed) {
            let record = KernelRecord { level: 0, facility: 0, at, text: text.to_owned() };
            let known = |kept: &KernelRecord| kept.at == at && kept.text == text;
            if at >= began && !self.records.iter().any(known) {
                let event = self.finder.next(&record);
                event.into_iter().for_each(|event| self.push_event(event));
            }
        }
    }

    /// So many records came that nobody has seen.
    pub(crate) fn lost(&mut self, records: u64) {
        self.left_out += usize::try_from(records).unwrap_or(usize::MAX);
    }

    /// Whether the kernel says again, as it does every few seconds, that something hangs.
    fn is_told(&self, event: &KernelEvent) -> bool {
        use KernelEventKind::{HungTask, Lockup, RcuStall};
        matches!(event.kind, HungTask | Lockup | RcuStall) && self.events.iter().any(|known| known.kind == event.kind)
    }

    fn push_event(&mut self, event: KernelEvent) {
        if self.is_told(&event) {
            self.more_events += 1;
        } else if self.events.len() < EVENT_LIMIT || self.events.iter().all(|kept| kept.kind != event.kind) {
            self.events.push(event);
        } else {
            self.more_events += 1;
        }
    }

    /// What went wrong, in order.
    pub(crate) fn events(&self) -> &[KernelEvent] {
        &self.events
    }

    /// What the kernel said of the first event of each kind.
    pub(crate) fn first_of_each_kind(&self) -> Vec<&str> {
        let is_first =
            |(index, event): &(usize, &KernelEvent)| self.events[..*index].iter().all(|e| e.kind != event.kind);
        self.events.iter().enumerate().filter(is_first).map(|(_, event)| event.line.trim_end()).collect()
    }

    /// How many events there were beyond what is kept.
    pub(crate) fn more_events(&self) -> usize {
        self.more_events
    }

    /// The lines that are not in `console`, with times from the test's start where that is known.
    pub(crate) fn lines(&self, console: &str) -> Vec<String> {
        let told = |record: &&KernelRecord| !console.contains(record.to_string().trim_end());
        self.records.iter().filter(told).map(|record| self.line(record)).collect()
    }

    /// How many lines told again what hangs.
    pub(crate) fn repeated(&self) -> usize {
        self.repeated
    }

    /// How many lines there were beyond what is kept.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out
    }

    fn line(&self, record: &KernelRecord) -> String {
        match self.began {
            Some(began) => format!("[{}] {}", distance(record.at, began), record.text),
            None => record.to_string(),
        }
    }

    /// A line of the console with its time from the test's start, where both are known.
    pub(crate) fn since_begin(&self, line: &str) -> String {
        match (timed(line), self.began) {
            (Some((at, text)), Some(began)) => format!("[{}] {text}", distance(at, began)),
            _ => line.to_owned(),
        }
    }
}

/// `text` as the kernel's log has it: names in Rust may have any letters.
fn logged(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii() { char::from(byte).to_string() } else { format!("\\x{byte:02x}") })
        .collect()
}

/// A line of the console: the kernel's time, and what it says.
fn timed(line: &str) -> Option<(Duration, &str)> {
    let (time, text) = line.strip_prefix('[')?.split_once("] ")?;
    let (seconds, micros) = time.trim_start().split_once('.')?;
    Some((Duration::from_secs(seconds.parse().ok()?) + Duration::from_micros(micros.parse().ok()?), text))
}

/// From the test's start, six digits behind the point; what was said before that has no time.
fn distance(at: Duration, began: Duration) -> String {
    match at.checked_sub(began) {
        Some(since) => format!("+{}.{:06}", since.as_secs(), since.subsec_micros()),
        None => "before".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use lvh_core::config::KernelEventKind;
    use lvh_core::vm::KernelRecord;

    use super::{EVENT_LIMIT, KernelLog, LIMIT};

    /// The log of the test `t`, from what `/dev/kmsg` gives.
    pub(crate) fn log(records: &str) -> KernelLog {
        let mut log = KernelLog::default();
        KernelRecord::parse_all(records.as_bytes()).into_iter().for_each(|record| log.push("t", record));
        log
    }

    #[test]
    fn times_count_from_the_tests_start() {
        let records = "6,1,1500000,-;early\n14,2,2000000,-;lvh: test t begins\n4,3,2000123,-;a\n4,4,13000000,-;b\n";
        assert_eq!(log(records).lines(""), ["[before] early", "[+0.000123] a", "[+11.000000] b"]);
        // Only user space begins tests, and each once.
        let records = "6,1,1000000,-;lvh: test t begins\n14,2,2000000,-;lvh: test u begins\n";
        assert_eq!(log(records).lines("").len(), 2);
        assert!(log(records).lines("")[0].starts_with("[    1.000000] "));
    }

    #[test]
    fn names_may_have_any_letters() {
        let mut log = KernelLog::default();
        let records = b"14,1,2000000,-;lvh: test gr\\xc3\\xb6\\xc3\\x9fe begins\n4,2,2000001,-;a\n";
        KernelRecord::parse_all(records).into_iter().for_each(|record| log.push("größe", record));
        assert_eq!(log.lines(""), ["[+0.000001] a"]);
    }

    #[test]
    fn what_only_the_console_has_counts_from_the_tests_start() {
        let mut log = log("14,1,2000000,-;lvh: test t begins\n4,2,2500000,-;BUG: a\n");
        log.watch_console(
            "[    1.500000] BUG: of another test\n[    2.500000] BUG: a\nBUG: b\n[    3.000000] BUG: c\n",
        );
        let lines: Vec<_> = log.events().iter().map(|event| event.line.as_str()).collect();
        assert_eq!(lines, ["BUG: a", "BUG: c"]);
    }

    #[test]
    fn a_flood_is_cut_and_still_watched() {
        let flood: String = (0..LIMIT + 2).map(|number| format!("6,1,1,-;line {number}\n")).collect();
        let log = log(&format!("{flood}4,1,1,-;Oops: 0002 [#1] SMP\n"));
        assert_eq!((log.lines("").len(), log.left_out()), (LIMIT, 3));
        assert_eq!(log.events().len(), 1);
    }

    #[test]
    fn what_hangs_is_told_once() {
        let lockup =
            |at: u32| format!("1,1,{at},-;watchdog: BUG: soft lockup - CPU#0 stuck for 3s! [t:9]\n4,2,{at},-; f\n");
        let stall = "3,3,4100000,-;rcu: INFO: rcu_sched self-detected stall on CPU\n4,4,4200000,-;task\n";
        let log = log(&format!("{}{}{stall}4,5,5000000,-;after\n", lockup(1_000_000), lockup(4_000_000)));
        let lines = log.lines("");
        assert_eq!((lines.len(), log.repeated(), log.events().len(), log.more_events()), (5, 2, 2, 1), "{lines:?}");
        assert!(lines[4].ends_with("] after") && lines[2].contains("rcu: INFO"), "{lines:?}");
    }

    #[test]
    fn the_first_event_of_a_kind_is_kept_after_any_number_of_others() {
        let flood = "4,1,1,-;BUG: scheduling while atomic: a/1/0x2\n".repeat(EVENT_LIMIT + 2);
        let log = log(&format!("{flood}4,1,1,-;rcu: INFO: rcu_sched self-detected stall on CPU\n"));
        assert_eq!((log.events().len(), log.more_events()), (EVENT_LIMIT + 1, 2));
        assert_eq!(log.events()[EVENT_LIMIT].kind, KernelEventKind::RcuStall);
    }
}
