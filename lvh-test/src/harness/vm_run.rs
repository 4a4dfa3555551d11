//! Runs tests in VMs: those that want the same VM one after the other, different VMs side by side.

use lvh_core::{Config, Error, Events, HostContext};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use super::args::Settings;
use super::outcome::{Ending, judge};
use super::reports::{Job, Reports};
use crate::guest_mode::Launch;
use crate::session::{Kept, Session, Shared, Wish, in_short};

/// What a VM costs beside the memory it gives its guest, in MiB.
const OVERHEAD_MIB: u64 = 150;

/// Runs `jobs`, at least one, all of which name a kernel. Returns when no VM is left; kept ones outlast the reports.
pub(crate) fn run(jobs: &[Job], settings: &Settings, config: &Config, reports: Reports) {
    let started = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = started.map_err(|error| Error::io("start a runtime", error)).and_then(|runtime| {
        let kept = run_all(jobs, settings, config, &reports, &runtime)?;
        Ok((runtime, kept))
    });
    match ran {
        Ok((runtime, kept)) => {
            kept.invitation().into_iter().for_each(|text| reports.kept(text));
            drop(reports);
            runtime.block_on(kept.all_ended());
        }
        Err(error) => fail(jobs, &error, &reports),
    }
}

fn run_all(
    jobs: &[Job],
    settings: &Settings,
    config: &Config,
    reports: &Reports,
    runtime: &Runtime,
) -> lvh_core::Result<Kept> {
    let events = {
        let reports = reports.clone();
        Events::new(move |event| reports.progress(event))
    };
    let shared = Shared {
        config,
        store: config.store()?,
        events,
        context: HostContext::here().map_err(|error| Error::io("find out where this test binary is", error))?,
        nocapture: settings.nocapture,
        reports,
        kept: Kept::default(),
    };
    runtime.block_on(run_groups(group(jobs, config), settings.test_threads, &shared));
    Ok(shared.kept)
}

/// A VM, and the tests that run in it.
struct Group {
    wish: Wish,
    jobs: Vec<Job>,
}

/// Tests that want the same VM stand together, in the order of the plan.
fn group(jobs: &[Job], config: &Config) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for job in jobs {
        let wish = Wish::of(job, config);
        match groups.iter_mut().find(|group| group.wish == wish) {
            Some(group) => group.jobs.push(job.clone()),
            None => groups.push(Group { wish, jobs: vec![job.clone()] }),
        }
    }
    groups
}

/// Runs as many groups at a time as the user's threads and the machine's memory allow.
async fn run_groups(groups: Vec<Group>, threads: usize, shared: &Shared<'_>) {
    let slots = Semaphore::new(threads.min(room(groups.iter().map(|group| group.wish.memory.mib()))));
    let mut running: Vec<_> = groups.into_iter().map(|group| Box::pin(run_group(group, shared, &slots))).collect();
    // A handful of futures: polling all of them whenever one wakes is cheaper than a task each.
    std::future::poll_fn(|context| {
        running.retain_mut(|group| group.as_mut().poll(context).is_pending());
        if running.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

async fn run_group(group: Group, shared: &Shared<'_>, slots: &Semaphore) {
    let _slot = slots.acquire().await.expect("the semaphore is never closed");
    let Group { wish, jobs } = group;
    let mut session = Session::new(shared, wish);
    for (index, job) in jobs.iter().enumerate() {
        if shared.reports.stopped() {
            break;
        }
        if let Err(error) = session.ready().await {
            fail(&jobs[index..], &error, shared.reports);
            break;
        }
        shared.reports.started(job);
        let outcome = session.run(&job.instance, &Launch::as_we_are()).await;
        shared.reports.ended(job, outcome);
    }
    session.end().await;
}

/// What keeps tests from running is reported once in full, and by each of them in a line.
fn fail(jobs: &[Job], error: &Error, reports: &Reports) {
    reports.progress(lvh_core::Event::Note(format!("error: {}", error.report())));
    for job in jobs {
        reports.started(job);
        reports.ended(job, judge(&job.instance, Ending::lost(in_short(error))));
    }
}

/// How many VMs of at most the given memory (in MiB) the machine has room for: one at least.
pub(crate) fn room(memory: impl IntoIterator<Item = u32>) -> usize {
    let needed = memory.into_iter().map(|mib| u64::from(mib) + OVERHEAD_MIB).max().unwrap_or(1);
    usize::try_from(free_memory_mib() / needed).unwrap_or(usize::MAX).max(1)
}

/// What the machine can give without swapping; nothing where it does not tell.
fn free_memory_mib() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    available.and_then(|kib| kib.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map_or(0, |kib| kib >> 10)
}
