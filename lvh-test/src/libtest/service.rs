//! The VMs of a process whose `main` is libtest's.

use std::io::{self, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use lvh_core::{Config, Error, Events, HostContext, Progress};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

use crate::guest_mode::Launch;
use crate::harness::{Ending, Event as Report, Instance, Job, Outcome, Reports, Stream, judge, lifeline, room};
use crate::session::{Kept, Session, Shared, Wish, in_short};

/// A test to run.
struct Order {
    job: Job,
    launch: Launch,
    answer: oneshot::Sender<Outcome>,
}

/// Runs one test in a VM that it shares with the others of this process that want the same.
///
/// # Errors
/// The service has died, which only a bug of ours makes it do.
pub(super) fn run(
    instance: Arc<Instance>,
    launch: Launch,
    config: &'static Config,
    nocapture: bool,
) -> Result<Outcome, oneshot::error::RecvError> {
    static SERVICE: OnceLock<mpsc::UnboundedSender<Order>> = OnceLock::new();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (answer, outcome) = oneshot::channel();
    let job = Job { index: NEXT.fetch_add(1, Ordering::Relaxed), instance };
    let service = SERVICE.get_or_init(|| start(config, nocapture));
    // A service that is gone drops the order, and with it the way to answer.
    let _ = service.send(Order { job, launch, answer });
    outcome.blocking_recv()
}

/// Starts the thread that all VMs live in.
fn start(config: &'static Config, nocapture: bool) -> mpsc::UnboundedSender<Order> {
    lifeline::hold();
    let (orders, queue) = mpsc::unbounded_channel();
    let serve = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a current-thread runtime needs nothing but an epoll descriptor");
        LocalSet::new().block_on(&runtime, dispatch(queue, config, nocapture));
    };
    thread::Builder::new().name("lvh-vms".to_owned()).spawn(serve).expect("a process that runs can start a thread");
    orders
}

/// Gives every wish a keeper, and every keeper its orders.
async fn dispatch(mut orders: mpsc::UnboundedReceiver<Order>, config: &'static Config, nocapture: bool) {
    let shared: &'static Shared<'static> = match shared(config, nocapture) {
        Ok(shared) => Box::leak(Box::new(shared)),
        Err(error) => return refuse_all(orders, &error).await,
    };
    wait_at_exit(shared);
    let slots = Rc::new(Slots::new(config));
    let mut keepers: Vec<(Wish, mpsc::UnboundedSender<Order>)> = Vec::new();
    while let Some(order) = orders.recv().await {
        let wish = Wish::of(&order.job, config);
        let keeper = match keepers.iter().find(|(kept, _)| *kept == wish) {
            Some((_, keeper)) => keeper,
            None => {
                let (keeper, queue) = mpsc::unbounded_channel();
                spawn_local(keep(wish.clone(), queue, shared, Rc::clone(&slots)));
                keepers.push((wish, keeper));
                &keepers[keepers.len() - 1].1
            }
        };
        let _ = keeper.send(order);
    }
}

fn shared(config: &'static Config, nocapture: bool) -> lvh_core::Result<Shared<'static>> {
    let reports: &'static Reports = Box::leak(Box::new(show_in_background()));
    Ok(Shared {
        config,
        store: config.store()?,
        events: Events::new(move |event| reports.progress(event)),
        context: HostContext::here().map_err(|error| Error::io("find out where this test binary is", error))?,
        nocapture,
        reports,
        kept: Kept::default(),
    })
}

/// Has this process wait at its end while VMs are kept.
fn wait_at_exit(shared: &'static Shared<'static>) {
    static SHARED: OnceLock<&'static Shared<'static>> = OnceLock::new();
    extern "C" fn wait() {
        let kept = SHARED.get().map(|shared| &shared.kept);
        if let Some((kept, invitation)) = kept.and_then(|kept| Some((kept, kept.invitation()?))) {
            let _ = io::stderr().write_all(invitation.as_bytes());
            kept.wait_until_all_ended();
        }
    }
    if shared.config.keep && SHARED.set(shared).is_ok() {
        // SAFETY: a function that lives as long as the process. libtest ends it by `exit`; our threads go on meanwhile.
        unsafe { libc::atexit(wait) };
    }
}

async fn refuse_all(mut orders: mpsc::UnboundedReceiver<Order>, error: &Error) {
    let _ = writeln!(io::stderr(), "lvh: error: {}", error.report());
    while let Some(order) = orders.recv().await {
        let _ = order.answer.send(judge(&order.job.instance, Ending::lost(in_short(error))));
    }
}

/// How many VMs may live at a time, and those that wait for one to end.
struct Slots {
    free: Arc<Semaphore>,
    wanted: Notify,
}

impl Slots {
    fn new(config: &Config) -> Self {
        // libtest's threads bound how many work; memory bounds how many may be kept.
        let count = room([config.vm.memory.mib()]).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(count)), wanted: Notify::new() }
    }

    async fn take(&self) -> OwnedSemaphorePermit {
        let free = Arc::clone(&self.free);
        if let Ok(permit) = Arc::clone(&free).try_acquire_owned() {
            return permit;
        }
        self.wanted.notify_waiters();
        free.acquire_owned().await.expect("the semaphore is never closed")
    }
}

/// Keeps one wish's VM: it runs orders, and ends while it has none when its room is wanted.
async fn keep(
    wish: Wish,
    mut orders: mpsc::UnboundedReceiver<Order>,
    shared: &'static Shared<'static>,
    slots: Rc<Slots>,
) {
    let mut refusal = None;
    while let Some(first) = orders.recv().await {
        let _slot = slots.take().await;
        let mut session = Session::new(shared, wish.clone());
        let mut next = Some(first);
        while let Some(order) = next {
            serve(&mut session, order, &mut refusal).await;
            next = tokio::select! {
                order = orders.recv() => order,
                () = slots.wanted.notified() => None,
            };
            if wish.is_alone() {
                break;
            }
        }
        session.end().await;
    }
}

/// Runs one test. What keeps it from running keeps the others of its wish too, at once and in the same words.
async fn serve(session: &mut Session<'_>, order: Order, refusal: &mut Option<String>) {
    if refusal.is_none()
        && let Err(error) = session.ready().await
    {
        session.tell(&error);
        *refusal = Some(in_short(&error));
    }
    let outcome = match refusal {
        None => session.run(&order.job.instance, &order.launch).await,
        Some(why) => judge(&order.job.instance, Ending::lost(why.clone())),
    };
    // A test that was given up needs no answer.
    let _ = order.answer.send(outcome);
}

/// Shows progress and live output on a thread of its own.
fn show_in_background() -> Reports {
    let (reports, events) = Reports::new(false);
    thread::spawn(move || {
        let mut progress = Progress::for_stderr();
        for event in events {
            show(event, &mut progress);
        }
    });
    reports
}

fn show(event: Report, progress: &mut Progress) {
    let _ = match event {
        Report::Progress(event) => io::stderr().write_all(progress.render(&event).as_bytes()),
        Report::Wrote(Stream::Stdout, bytes, _room) => io::stdout().write_all(&bytes),
        Report::Wrote(Stream::Stderr, bytes, _room) => io::stderr().write_all(&bytes),
        Report::Started(..) | Report::Ended(..) | Report::Kept(..) => Ok(()),
    };
}
