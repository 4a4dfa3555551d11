//! The VMs of a process whose `main` is libtest's.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use lvh_core::machine::{room_is_wanted, start_thread};
use lvh_core::{Error, Progress};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

use crate::guest_mode::Launch;
use crate::job::{Instance, Job, Outcome};
use crate::run::end_with_cargo;
use crate::session::{Session, Shared, VmKey};
use crate::settings::Setup;
use crate::test_binary::under_nextest;
use crate::test_events::{OutputStream, TestEvent, TestEvents};
use crate::verdict::{Ending, Refusal, judge};

/// A test to run.
struct Order {
    job: Job,
    launch: Launch,
    answer: oneshot::Sender<Outcome>,
}

/// Runs one test in a VM that it shares with the others of this process that want the same.
pub(super) fn run(instance: &Instance, launch: Launch, setup: &'static Setup, nocapture: bool) -> Outcome {
    static SERVICE: OnceLock<Result<mpsc::UnboundedSender<Order>, Mutex<Refusal>>> = OnceLock::new();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (answer, outcome) = oneshot::channel();
    let job = Job { index: NEXT.fetch_add(1, Ordering::Relaxed), instance: instance.clone() };
    let refused = |error| Mutex::new(Refusal::of(&error));
    match SERVICE.get_or_init(|| start(setup, nocapture).map_err(refused)) {
        // A service that is gone, which only a bug of ours makes it be, drops the order, and with it the way to answer.
        Ok(service) => drop(service.send(Order { job, launch, answer })),
        Err(refusal) => {
            let ending = refusal.lock().unwrap_or_else(PoisonError::into_inner).ending(&instance.name);
            return judge(instance, ending);
        }
    }
    outcome
        .blocking_recv()
        .unwrap_or_else(|gone| judge(instance, Ending::lost(format!("lvh lost track of it: {gone}"))))
}

/// Starts the thread that all VMs live in.
fn start(setup: &'static Setup, nocapture: bool) -> lvh_core::Result<mpsc::UnboundedSender<Order>> {
    end_with_cargo()?;
    let (orders, queue) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::io("start a runtime", error))?;
    let test_events = show_in_background()?;
    start_thread("lvh-vms", move || {
        LocalSet::new().block_on(&runtime, dispatch(queue, setup, nocapture, test_events));
    })?;
    Ok(orders)
}

/// Gives every VM key a task of its own, and every task its orders.
async fn dispatch(
    mut orders: mpsc::UnboundedReceiver<Order>,
    setup: &'static Setup,
    nocapture: bool,
    test_events: TestEvents,
) {
    let test_events = Box::leak(Box::new(test_events));
    let shared: &'static Shared<'static> = match Shared::new(setup, nocapture, test_events) {
        Ok(shared) => Box::leak(Box::new(shared)),
        Err(error) => return refuse_all(orders, &error).await,
    };
    wait_at_exit(shared);
    let mut tasks: Vec<(VmKey, mpsc::UnboundedSender<Order>)> = Vec::new();
    while let Some(order) = orders.recv().await {
        let key = VmKey::of(&order.job, &setup.config);
        let task = match tasks.iter().find(|(known, _)| *known == key) {
            Some((_, task)) => task,
            None => {
                let (task, queue) = mpsc::unbounded_channel();
                spawn_local(serve_key(key.clone(), queue, shared));
                tasks.push((key, task));
                &tasks[tasks.len() - 1].1
            }
        };
        let _ = task.send(order);
    }
}

/// Has this process wait at its end while there are retained VMs.
fn wait_at_exit(shared: &'static Shared<'static>) {
    static SHARED: OnceLock<&'static Shared<'static>> = OnceLock::new();
    extern "C" fn wait() {
        let retained = SHARED.get().map(|shared| &shared.retained);
        if let Some((retained, invitation)) = retained.and_then(|retained| Some((retained, retained.invitation()?))) {
            let _ = io::stderr().write_all(invitation.as_bytes());
            retained.wait_until_all_ended();
        }
    }
    if shared.settings.retain && SHARED.set(shared).is_ok() {
        // SAFETY: a function that lives as long as the process. libtest ends it by `exit`; our threads go on meanwhile.
        unsafe { libc::atexit(wait) };
    }
}

async fn refuse_all(mut orders: mpsc::UnboundedReceiver<Order>, error: &Error) {
    let mut refusal = Refusal::of(error);
    while let Some(order) = orders.recv().await {
        let instance = &order.job.instance;
        let _ = order.answer.send(judge(instance, refusal.ending(&instance.name)));
    }
}

/// Runs the orders of one key in its VM, which ends when somebody on the machine wants its room and no order is there.
async fn serve_key(key: VmKey, mut orders: mpsc::UnboundedReceiver<Order>, shared: &'static Shared<'static>) {
    let mut refusal = None;
    while let Some(first) = orders.recv().await {
        let is_for_one = key.is_alone() || under_nextest();
        let mut session =
            if is_for_one { Session::for_one(shared, key.clone()) } else { Session::new(shared, key.clone()) };
        let mut next = Some(first);
        while let Some(order) = next {
            serve(&mut session, order, &mut refusal).await;
            next = tokio::select! {
                order = orders.recv() => order,
                () = room_is_wanted() => None,
            };
            if is_for_one {
                break;
            }
        }
        session.end().await;
    }
}

/// Runs one test. What keeps it from running keeps the others of its key too, at once and in the same words.
async fn serve(session: &mut Session<'_>, order: Order, refusal: &mut Option<Refusal>) {
    if refusal.is_none()
        && let Err(error) = session.ready().await
    {
        *refusal = Some(Refusal::of(&error));
    }
    let instance = &order.job.instance;
    let outcome = match refusal {
        None => session.run(instance, &order.launch).await,
        Some(refusal) => judge(instance, refusal.ending(&instance.name)),
    };
    // A test that was given up needs no answer.
    let _ = order.answer.send(outcome);
}

/// Shows progress and live output on a thread of its own.
fn show_in_background() -> lvh_core::Result<TestEvents> {
    let (test_events, received) = TestEvents::new(false);
    start_thread("lvh-shows", move || {
        let mut progress = Progress::for_stderr();
        for event in received {
            show(event, &mut progress);
        }
    })?;
    Ok(test_events)
}

fn show(event: TestEvent, progress: &mut Progress) {
    let _ = match event {
        TestEvent::Progress(event) => io::stderr().write_all(progress.render(&event).as_bytes()),
        TestEvent::Wrote(OutputStream::Stdout, bytes, _room) => io::stdout().write_all(&bytes),
        TestEvent::Wrote(OutputStream::Stderr, bytes, _room) => io::stderr().write_all(&bytes),
        TestEvent::Started(..) | TestEvent::Ended(..) | TestEvent::Retained(..) => Ok(()),
    };
}
