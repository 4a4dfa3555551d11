//! Runs the plan: hands the tests to those who run them, and shows what they report.
//!
//! The main thread prints. Tests on the host have up to `--test-threads` worker threads, each waiting for one child
//! process; tests in VMs have one thread, which lives as long as any VM does (a VM dies with the thread that spawned
//! it). With one test thread the two take turns.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};

use lvh_core::machine::no_thread;

use super::host_run::HostRun;
use super::monitor::Monitor;
use super::vm_run;
use crate::guest_mode::Launch;
use crate::job::{Instance, Job};
use crate::libtest_ui::{Args, Format, Printer, ignore_reason};
use crate::report::{self, Shown};
use crate::settings::Setup;
use crate::test_events::TestEvents;
use crate::verdict::judge;

/// Runs `instances`; whether all went well.
///
/// # Errors
/// A thread cannot be started.
pub(super) fn run(instances: &[Instance], filtered_out: usize, args: &Args, setup: &Setup) -> lvh_core::Result<bool> {
    let (test_events, received) = TestEvents::new(args.fail_fast);
    // Workers that retain VMs outlast the events, and with them all that there is to print.
    thread::scope(|scope| {
        let stop = test_events.clone();
        if let Err(error) = (Workers { args, setup, test_events }).start(scope, instances) {
            // Those that began hear that nobody listens.
            stop.stop();
            drop(received);
            return Err(no_thread("lvh-worker", error));
        }
        drop(stop);
        let mut printer = Printer::start(args, instances, filtered_out);
        let (results, invitation) = Monitor::new(instances, args, &mut printer).until_all_ended(&received);
        let passed = printer.finish();
        let shown = Shown { in_full: args.format == Format::Pretty, live: args.nocapture };
        let reported = report::tell(&results, shown, setup.settings.junit.as_deref(), |text| printer.aside(text));
        printer.aside(&invitation);
        Ok(reported && passed)
    })
}

/// The threads that run tests. They own the way to the main thread: once the last is done, the events end.
struct Workers<'a> {
    args: &'a Args,
    setup: &'a Setup,
    test_events: TestEvents,
}

impl<'a> Workers<'a> {
    fn start<'scope>(self, scope: &'scope Scope<'scope, 'a>, instances: &[Instance]) -> io::Result<()> {
        let Self { args, setup, test_events } = self;
        let host_run = HostRun::new(&setup.config, args.nocapture);
        let (host, vm) = split(instances, args);
        let (threads, queue) = (args.test_threads.min(host.len()), Arc::new(Mutex::new(VecDeque::from(host))));
        if args.test_threads == 1 {
            return spawn(scope, move || {
                run_on_host(&queue, args, host_run, &test_events);
                if !vm.is_empty() {
                    vm_run::run(&vm, args, setup, test_events);
                }
            });
        }
        for _ in 0..threads {
            let (queue, test_events) = (Arc::clone(&queue), test_events.clone());
            spawn(scope, move || run_on_host(&queue, args, host_run, &test_events))?;
        }
        if !vm.is_empty() {
            spawn(scope, move || vm_run::run(&vm, args, setup, test_events))?;
        }
        Ok(())
    }
}

fn spawn<'scope>(scope: &'scope Scope<'scope, '_>, work: impl FnOnce() + Send + 'scope) -> io::Result<()> {
    thread::Builder::new().name("lvh-worker".to_owned()).spawn_scoped(scope, work).map(drop)
}

/// The jobs that need no VM, because they run on the host or not at all, and the others.
fn split(instances: &[Instance], args: &Args) -> (Vec<Job>, Vec<Job>) {
    let jobs = instances.iter().enumerate().map(|(index, instance)| Job { index, instance: instance.clone() });
    jobs.partition(|job| job.instance.kernel.is_none() || ignore_reason(&job.instance, args).is_some())
}

/// One worker: takes jobs until there are none.
fn run_on_host(queue: &Mutex<VecDeque<Job>>, args: &Args, host_run: HostRun, test_events: &TestEvents) {
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    while let Some(job) = next().filter(|_| !test_events.stopped()) {
        if let Some(reason) = ignore_reason(&job.instance, args) {
            test_events.ignored(&job, reason);
        } else {
            test_events.started(&job);
            let ending = host_run.run(&job.instance, &Launch::as_we_are());
            test_events.ended(&job, judge(&job.instance, ending));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::split;
    use crate::case::Options;
    use crate::job::{Instance, Job, examples};
    use crate::libtest_ui;

    #[test]
    fn ignored_tests_need_no_vm() {
        let instance = |name: &str, kernel: Option<&str>, ignore| {
            examples::instance(name, name, kernel, Options { ignore, ..Options::DEFAULT })
        };
        let plan: [Instance; 3] = [
            instance("vm", Some("6.1"), None),
            instance("ignored", Some("6.1"), Some("")),
            instance("host", None, None),
        ];
        let check = |arguments: &[&str], host: &[usize], vm: &[usize]| {
            let args = std::iter::once("t").chain(arguments.iter().copied()).map(OsString::from);
            let jobs = split(&plan, &libtest_ui::parse(args).unwrap());
            let places = |jobs: &[Job]| jobs.iter().map(|job| job.index).collect::<Vec<_>>();
            assert_eq!((places(&jobs.0).as_slice(), places(&jobs.1).as_slice()), (host, vm), "{arguments:?}");
        };
        check(&[], &[1, 2], &[0]);
        check(&["--include-ignored"], &[2], &[0, 1]);
    }
}
