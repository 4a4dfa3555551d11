//! What the kernel logged while a test ran.

use std::time::Duration;

use lvh_core::vm::{KernelEvent, KernelEvents, KernelRecord};

use crate::guest_mode::start_mark;

/// The most records of one test that are kept; what goes wrong is noticed in the others too.
const LIMIT: usize = 1000;

/// The most events of one test that are kept; of each kind the first one is, in any case.
const EVENT_LIMIT: usize = 100;

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
}

impl KernelLog {
    /// Takes the next record of the test at `path`.
    pub(crate) fn push(&mut self, path: &str, record: KernelRecord) {
        if self.began.is_none() && record.facility != 0 && record.text.trim_end() == start_mark(path) {
            self.began = Some(record.at);
            return;
        }
        if let Some(event) = self.finder.next(&record) {
            self.push_event(event);
        }
        match self.records.len() {
            ..LIMIT => self.records.push(record),
            _ => self.left_out += 1,
        }
    }

    /// So many records came that nobody has seen.
    pub(crate) fn lost(&mut self, records: u64) {
        self.left_out += usize::try_from(records).unwrap_or(usize::MAX);
    }

    fn push_event(&mut self, event: KernelEvent) {
        if self.events.len() < EVENT_LIMIT || self.events.iter().all(|kept| kept.kind != event.kind) {
            self.events.push(event);
        } else {
            self.more_events += 1;
        }
    }

    /// What went wrong, in order.
    pub(crate) fn events(&self) -> &[KernelEvent] {
        &self.events
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

    /// How many lines there were beyond what is kept.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out
    }

    fn line(&self, record: &KernelRecord) -> String {
        let Some(began) = self.began else { return record.to_string() };
        let (sign, distance) = if record.at < began { ('-', began - record.at) } else { ('+', record.at - began) };
        format!("[{sign}{}.{:06}] {}", distance.as_secs(), distance.subsec_micros(), record.text)
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
        assert_eq!(log(records).lines(""), ["[-0.500000] early", "[+0.000123] a", "[+11.000000] b"]);
        // Only user space begins tests, and each once.
        let records = "6,1,1000000,-;lvh: test t begins\n14,2,2000000,-;lvh: test u begins\n";
        assert_eq!(log(records).lines("").len(), 2);
        assert!(log(records).lines("")[0].starts_with("[    1.000000] "));
    }

    #[test]
    fn a_flood_is_cut_and_still_watched() {
        let flood: String = (0..LIMIT + 2).map(|number| format!("6,1,1,-;line {number}\n")).collect();
        let log = log(&format!("{flood}4,1,1,-;Oops: 0002 [#1] SMP\n"));
        assert_eq!((log.lines("").len(), log.left_out()), (LIMIT, 3));
        assert_eq!(log.events().len(), 1);
    }

    #[test]
    fn the_first_event_of_a_kind_is_kept_after_any_number_of_others() {
        let flood = "4,1,1,-;BUG: scheduling while atomic: a/1/0x2\n".repeat(EVENT_LIMIT + 2);
        let log = log(&format!("{flood}4,1,1,-;rcu: INFO: rcu_sched self-detected stall on CPU\n"));
        assert_eq!((log.events().len(), log.more_events()), (EVENT_LIMIT + 1, 2));
        assert_eq!(log.events()[EVENT_LIMIT].kind, KernelEventKind::RcuStall);
    }
}
