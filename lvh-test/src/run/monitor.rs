//! The main thread's part of a run: it shows what the workers report.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::job::{Instance, Outcome, TestResult};
use crate::libtest_ui::{Args, Printer};
use crate::test_events::TestEvent;
use crate::verdict::{Ending, judge};

/// When libtest says that a test takes long.
const SLOW: Duration = Duration::from_secs(60);

/// Follows a run, and shows it.
pub(super) struct Monitor<'a> {
    instances: &'a [Instance],
    printer: &'a mut Printer,
    /// libtest warns of slow tests only where others run beside them.
    warns: bool,
    /// The tests that run and were not warned of yet, with the time to do so; oldest first.
    running: VecDeque<(usize, Instant)>,
    /// The tests that began and have not ended.
    open: Vec<usize>,
    /// What became of the tests that ended.
    results: Vec<TestResult>,
    /// How to enter VMs that stay.
    invitation: String,
}

impl<'a> Monitor<'a> {
    /// Of the run that `args` ask for.
    pub(super) fn new(instances: &'a [Instance], args: &Args, printer: &'a mut Printer) -> Self {
        Self {
            instances,
            printer,
            warns: args.test_threads > 1,
            running: VecDeque::new(),
            open: Vec::new(),
            results: Vec::new(),
            invitation: String::new(),
        }
    }

    /// Shows what happens; the results, in the order of the plan, and how to enter VMs that stay.
    pub(super) fn until_all_ended(mut self, events: &Receiver<TestEvent>) -> (Vec<TestResult>, String) {
        loop {
            match events.recv_timeout(self.patience()) {
                Ok(event) => self.show(event),
                Err(RecvTimeoutError::Timeout) => self.warn(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.printer.tick();
        }
        self.give_up_the_rest();
        self.results.sort_by_key(|result| result.index);
        (self.results, self.invitation)
    }

    /// Until there is something to do although nothing has happened.
    fn patience(&self) -> Duration {
        let dues = self.running.front().map(|(_, due)| *due).into_iter().chain(self.printer.due());
        dues.min().map_or(SLOW, |due| due.saturating_duration_since(Instant::now()))
    }

    fn show(&mut self, event: TestEvent) {
        match event {
            TestEvent::Started(index, _unshown) => self.started(index),
            TestEvent::Wrote(stream, bytes, _room) => self.printer.test_wrote(stream, &bytes),
            TestEvent::Progress(event) => self.printer.progress(&event),
            TestEvent::Retained(invitation) => self.invitation = invitation,
            TestEvent::Ended(index, outcome) => {
                self.running.retain(|(running, _)| *running != index);
                self.open.retain(|open| *open != index);
                self.ended(index, outcome);
            }
        }
    }

    fn started(&mut self, index: usize) {
        self.open.push(index);
        if self.warns {
            self.running.push_back((index, Instant::now() + SLOW));
        }
        self.printer.test_started(index, &self.instances[index]);
    }

    fn ended(&mut self, index: usize, outcome: Outcome) {
        let instance = self.instances[index].clone();
        self.printer.test_finished(index, &instance, &outcome);
        self.results.push(TestResult { index, instance, outcome });
    }

    fn warn(&mut self) {
        let due = self.running.front().copied().filter(|(_, due)| *due <= Instant::now());
        if let Some((index, _)) = due {
            self.running.pop_front();
            self.printer.test_is_slow(&self.instances[index], SLOW);
        }
    }

    /// A thread that runs tests has died of a bug of ours: its test must not vanish from the count.
    fn give_up_the_rest(&mut self) {
        for index in std::mem::take(&mut self.open) {
            let outcome = judge(&self.instances[index], Ending::lost("lvh lost track of this test"));
            self.ended(index, outcome);
        }
    }
}
