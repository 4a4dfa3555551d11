//! Runs the plan: hands the tests to those who run them, and shows what they report.
//!
//! The main thread prints. Tests on the host have up to `--test-threads` worker threads, each waiting for one child
//! process; tests in VMs have one thread, which lives as long as any VM does (a VM dies with the thread that spawned
//! it). With one test thread the two take turns.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use lvh_core::Config;

use super::aftermath::{self, Shown};
use super::args::{Format, Settings};
use super::host_run::HostRun;
use super::instance::Instance;
use super::outcome::{Ending, Outcome, judge};
use super::printer::Printer;
use super::reports::{Event, Job, Reports};
use super::results::TestResult;
use super::selection::ignore_reason;
use super::vm_run;
use crate::guest_mode::Launch;

/// When libtest says that a test takes long.
const SLOW: Duration = Duration::from_secs(60);

/// Runs `instances`; whether all went well.
pub(crate) fn run(instances: &[Arc<Instance>], filtered_out: usize, settings: &Settings, config: &Config) -> bool {
    let mut printer = Printer::start(settings, instances, filtered_out);
    let (reports, events) = Reports::new(settings.fail_fast);
    // Lanes that keep VMs outlast the events, and with them all that there is to print.
    thread::scope(|scope| {
        Lanes { settings, config, reports }.start(scope, instances);
        let (results, kept) = Show::new(instances, settings, &mut printer).until_all_ended(&events);
        let passed = printer.finish();
        let shown = Shown { in_full: settings.format == Format::Pretty, live: settings.nocapture };
        let reported = aftermath::tell(&results, shown, config, |text| printer.aside(text));
        printer.aside(&kept);
        reported && passed
    })
}

/// Those who run tests. They own the reports: once the last is done, the events end.
struct Lanes<'a> {
    settings: &'a Settings,
    config: &'a Config,
    reports: Reports,
}

impl<'a> Lanes<'a> {
    fn start<'scope>(self, scope: &'scope Scope<'scope, 'a>, instances: &[Arc<Instance>]) {
        let Self { settings, config, reports } = self;
        let host_run = HostRun::new(config, settings.nocapture);
        let (host, vm) = split(instances, settings);
        let (threads, queue) = (settings.test_threads.min(host.len()), Arc::new(Mutex::new(VecDeque::from(host))));
        if settings.test_threads == 1 {
            scope.spawn(move || {
                run_on_host(&queue, settings, host_run, &reports);
                if !vm.is_empty() {
                    vm_run::run(&vm, settings, config, reports);
                }
            });
            return;
        }
        for _ in 0..threads {
            let (queue, reports) = (Arc::clone(&queue), reports.clone());
            scope.spawn(move || run_on_host(&queue, settings, host_run, &reports));
        }
        if !vm.is_empty() {
            scope.spawn(move || vm_run::run(&vm, settings, config, reports));
        }
    }
}

/// The jobs that need no VM, because they run on the host or not at all, and the others.
fn split(instances: &[Arc<Instance>], settings: &Settings) -> (Vec<Job>, Vec<Job>) {
    let jobs = instances.iter().enumerate().map(|(index, instance)| Job { index, instance: Arc::clone(instance) });
    jobs.partition(|job| job.instance.kernel.is_none() || ignore_reason(&job.instance, settings).is_some())
}

/// One worker: takes jobs until there are none.
fn run_on_host(queue: &Mutex<VecDeque<Job>>, settings: &Settings, host_run: HostRun, reports: &Reports) {
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    while let Some(job) = next().filter(|_| !reports.stopped()) {
        if let Some(reason) = ignore_reason(&job.instance, settings) {
            reports.ignored(&job, reason);
        } else {
            reports.started(&job);
            let ending = host_run.run(&job.instance, &Launch::as_we_are());
            reports.ended(&job, judge(&job.instance, ending));
        }
    }
}

/// The main thread's part.
struct Show<'a> {
    instances: &'a [Arc<Instance>],
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
    kept: String,
}

impl<'a> Show<'a> {
    fn new(instances: &'a [Arc<Instance>], settings: &Settings, printer: &'a mut Printer) -> Self {
        Self {
            instances,
            printer,
            warns: settings.test_threads > 1,
            running: VecDeque::new(),
            open: Vec::new(),
            results: Vec::new(),
            kept: String::new(),
        }
    }

    /// Shows what happens; the results, in the order of the plan, and how to enter VMs that stay.
    fn until_all_ended(mut self, events: &Receiver<Event>) -> (Vec<TestResult>, String) {
        loop {
            let warning = self.running.front().map_or(SLOW, |(_, due)| due.saturating_duration_since(Instant::now()));
            match events.recv_timeout(warning) {
                Ok(event) => self.show(event),
                Err(RecvTimeoutError::Timeout) => self.warn(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.give_up_the_rest();
        self.results.sort_by_key(|result| result.index);
        (self.results, self.kept)
    }

    fn show(&mut self, event: Event) {
        match event {
            Event::Started(index, _unshown) => self.started(index),
            Event::Wrote(stream, bytes, _room) => self.printer.test_wrote(stream, &bytes),
            Event::Progress(event) => self.printer.progress(&event),
            Event::Kept(invitation) => self.kept = invitation,
            Event::Ended(index, outcome) => {
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
        self.printer.test_started(&self.instances[index]);
    }

    fn ended(&mut self, index: usize, outcome: Outcome) {
        let instance = Arc::clone(&self.instances[index]);
        self.printer.test_finished(&instance, &outcome);
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
