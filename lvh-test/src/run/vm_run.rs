//! Runs tests in VMs: those that want the same VM one after the other, and in further VMs like it where that takes long; different
//! VMs side by side.

use std::pin::Pin;
use std::time::Duration;

use lvh_core::{Config, Error};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use crate::guest_mode::Launch;
use crate::job::Job;
use crate::libtest_ui::Args;
use crate::session::{Queue, Retained, Session, Shared, VmKey};
use crate::settings::Setup;
use crate::test_events::TestEvents;
use crate::verdict::{Refusal, judge};

/// Runs `jobs`, at least one, all of which name a kernel. Returns when no VM is left; retained ones outlast the events.
pub(super) fn run(jobs: &[Job], args: &Args, setup: &Setup, test_events: TestEvents) {
    let started = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = started.map_err(|error| Error::io("start a runtime", error)).and_then(|runtime| {
        let retained = run_all(jobs, args, setup, &test_events, &runtime)?;
        Ok((runtime, retained))
    });
    match ran {
        Ok((runtime, retained)) => {
            retained.invitation().into_iter().for_each(|text| test_events.retained(text));
            drop(test_events);
            runtime.block_on(retained.all_ended());
        }
        Err(error) => fail(jobs, &error, &test_events),
    }
}

fn run_all(
    jobs: &[Job],
    args: &Args,
    setup: &Setup,
    test_events: &TestEvents,
    runtime: &Runtime,
) -> lvh_core::Result<Retained> {
    let shared = Shared::new(setup, args.nocapture, test_events)?;
    runtime.block_on(run_groups(group(jobs, &setup.config), args.test_threads, &shared));
    Ok(shared.retained)
}

/// A VM, and the tests that run in it.
struct Group {
    key: VmKey,
    jobs: Vec<Job>,
}

/// Tests that want the same VM stand together, in the order of the plan.
fn group(jobs: &[Job], config: &Config) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for job in jobs {
        let key = VmKey::of(job, config);
        match groups.iter_mut().find(|group| group.key == key) {
            Some(group) => group.jobs.push(job.clone()),
            None => groups.push(Group { key, jobs: vec![job.clone()] }),
        }
    }
    groups
}

/// Runs as many groups at a time as the user's threads allow. For each VM there must also be room on the machine.
async fn run_groups(groups: Vec<Group>, threads: usize, shared: &Shared<'_>) {
    let slots = Semaphore::new(threads.min(Semaphore::MAX_PERMITS));
    let mut running: Vec<_> = groups.into_iter().map(|group| Box::pin(run_group(group, shared, &slots))).collect();
    // A handful of futures: polling all of them whenever one wakes is cheaper than a task each.
    std::future::poll_fn(|context| {
        running.retain_mut(|group| group.as_mut().poll(context).is_pending());
        if running.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

async fn run_group(group: Group, shared: &Shared<'_>, slots: &Semaphore) {
    let slot = slots.acquire().await.expect("the semaphore is never closed");
    let is_for_one = group.jobs.len() == 1;
    let work = Work { key: &group.key, queue: &Queue::new(group.jobs), is_for_one, shared, slots };
    work.run(slot, Rank::First).await;
}

/// Tests that want the same VM.
#[derive(Clone, Copy)]
struct Work<'w> {
    key: &'w VmKey,
    queue: &'w Queue<Job>,
    is_for_one: bool,
    shared: &'w Shared<'w>,
    slots: &'w Semaphore,
}

/// Which of the VMs for the same tests one is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    First,
    Further,
}

impl<'w> Work<'w> {
    /// Runs tests in a VM, and in a further one beside it where that pays, until none is left.
    fn run(self, slot: SemaphorePermit<'w>, rank: Rank) -> Pin<Box<dyn Future<Output = ()> + 'w>> {
        let (shared, key) = (self.shared, self.key.clone());
        let mut session = if self.is_for_one { Session::for_one(shared, key) } else { Session::new(shared, key) };
        let start = session.start();
        Box::pin(async move {
            tokio::join!(self.run_in(session, slot, rank), self.run_in_further(start));
        })
    }

    async fn run_in(self, mut session: Session<'w>, _slot: SemaphorePermit<'w>, rank: Rank) {
        while !self.queue.is_empty() {
            if self.shared.test_events.stopped() {
                // No VM runs them.
                self.take_all();
                break;
            }
            let ready = tokio::select! {
                ready = session.ready() => ready,
                // Others have taken what it was to be started for.
                () = self.queue.emptied() => break,
            };
            if let Err(error) = ready {
                self.give_up(&error, rank);
                break;
            }
            let Some(job) = self.queue.take() else { break };
            self.shared.test_events.started(&job);
            let outcome = session.run(&job.instance, &Launch::as_we_are()).await;
            self.shared.test_events.ended(&job, outcome);
        }
        session.end().await;
    }

    /// Where a further VM cannot be had, the others do its work.
    fn give_up(self, error: &Error, rank: Rank) {
        match rank {
            Rank::First => fail(&self.take_all(), error, self.shared.test_events),
            Rank::Further => self.shared.events.note(format!("a further VM cannot be had: {}", error.report())),
        }
    }

    fn take_all(self) -> Vec<Job> {
        std::iter::from_fn(|| self.queue.take()).collect()
    }

    async fn run_in_further(self, start: oneshot::Receiver<Duration>) {
        let Ok(start) = start.await else { return };
        tokio::select! {
            () = self.queue.emptied() => {}
            slot = self.queue.wants_further(start, || self.further_slot()) => self.run(slot, Rank::Further).await,
        }
    }

    /// Where other tests wait for theirs, there is no further VM.
    fn further_slot(self) -> Option<SemaphorePermit<'w>> {
        let slot = self.slots.try_acquire().ok()?;
        self.shared.may_start_further(self.key).then_some(slot)
    }
}

/// What keeps tests from running is told in full by the first of them.
fn fail(jobs: &[Job], error: &Error, test_events: &TestEvents) {
    let mut refusal = Refusal::of(error);
    for job in jobs {
        test_events.started(job);
        test_events.ended(job, judge(&job.instance, refusal.ending(&job.instance.name)));
    }
}

#[cfg(test)]
mod tests {
    use lvh_core::Config;

    use super::group;
    use crate::case::Options;
    use crate::job::{Job, examples};

    /// The places of the tests of each group, given their kernels and options.
    #[track_caller]
    fn check(tests: &[(&str, Options)], expected: &[&[usize]]) {
        let job = |(index, (kernel, options)): (usize, &(&str, Options))| {
            let name = format!("t{index}");
            Job { index, instance: examples::instance(&name, &name, Some(kernel), *options) }
        };
        let jobs: Vec<Job> = tests.iter().enumerate().map(job).collect();
        let places = |jobs: &[Job]| jobs.iter().map(|job| job.index).collect::<Vec<_>>();
        let groups: Vec<_> = group(&jobs, &Config::default()).iter().map(|group| places(&group.jobs)).collect();
        assert_eq!(groups, expected);
    }

    #[test]
    fn a_group_is_a_vm() {
        let (plain, small) = (Options::DEFAULT, Options { memory_mib: Some(256), ..Options::DEFAULT });
        check(&[], &[]);
        check(&[("6.1", plain), ("6.12", plain), ("6.1", plain)], &[&[0, 2], &[1]]);
        check(&[("6.1", small), ("6.1", plain), ("6.1", plain), ("6.1", small)], &[&[0, 3], &[1, 2]]);
    }

    #[test]
    fn who_wants_a_vm_to_itself_gets_one() {
        let (plain, alone) = (Options::DEFAULT, Options { fresh_vm: true, ..Options::DEFAULT });
        check(&[("6.1", plain), ("6.1", alone), ("6.1", alone), ("6.1", plain)], &[&[0, 3], &[1], &[2]]);
    }
}
