//! The VMs of a process whose `main` is libtest's.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use lvh_core::machine::{room_is_wanted, start_thread};
use lvh_core::{Error, Progress};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

use crate::guest_mode::Launch;
use crate::job::{Instance, Job, Outcome};
use crate::run::end_with_cargo;
use crate::session::{Queue, Session, Shared, VmKey};
use crate::settings::Setup;
use crate::test_binary::under_nextest;
use crate::test_events::{OutputStream, TestEvent, TestEvents};
use crate::verdict::{Ending, Refusal, judge};

/// What tests ask the service for.
enum Request {
    Run(Box<Order>),
    /// Kernels that will be wanted.
    Fetch(Vec<String>),
}

/// A test to run.
struct Order {
    job: Job,
    launch: Launch,
    answer: oneshot::Sender<Outcome>,
}

/// The way to the service, or why there is none.
type Service = Result<mpsc::UnboundedSender<Request>, Mutex<Refusal>>;

/// That of this process.
fn service(setup: &'static Setup, nocapture: bool) -> &'static Service {
    static SERVICE: OnceLock<Service> = OnceLock::new();
    let refused = |error| Mutex::new(Refusal::of(&error));
    SERVICE.get_or_init(|| start(setup, nocapture).map_err(refused))
}

/// Has the kernels that `instances` will want fetched side by side: libtest's one test for all of them wants one after the other.
pub(super) fn announce(instances: &[Instance], setup: &'static Setup, nocapture: bool) {
    let kernels: Vec<String> = instances.iter().filter_map(|instance| instance.kernel.clone()).collect();
    if kernels.len() > 1
        && let Ok(service) = service(setup, nocapture)
    {
        drop(service.send(Request::Fetch(kernels)));
    }
}

/// Runs one test in a VM that it shares with the others of this process that want the same.
pub(super) fn run(instance: &Instance, launch: Launch, setup: &'static Setup, nocapture: bool) -> Outcome {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (answer, outcome) = oneshot::channel();
    let job = Job { index: NEXT.fetch_add(1, Ordering::Relaxed), instance: instance.clone() };
    match service(setup, nocapture) {
        // A service that is gone, which only a bug of ours makes it be, drops the order, and with it the way to answer.
        Ok(service) => drop(service.send(Request::Run(Box::new(Order { job, launch, answer })))),
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
fn start(setup: &'static Setup, nocapture: bool) -> lvh_core::Result<mpsc::UnboundedSender<Request>> {
    end_with_cargo()?;
    let (service, requests) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::io("start a runtime", error))?;
    let test_events = show_in_background()?;
    start_thread("lvh-vms", move || {
        LocalSet::new().block_on(&runtime, dispatch(requests, setup, nocapture, test_events));
    })?;
    Ok(service)
}

/// Gives every kind of VM a pool of its own, and every pool its orders.
async fn dispatch(
    mut requests: mpsc::UnboundedReceiver<Request>,
    setup: &'static Setup,
    nocapture: bool,
    test_events: TestEvents,
) {
    let test_events = Box::leak(Box::new(test_events));
    let shared: &'static Shared<'static> = match Shared::new(setup, nocapture, test_events) {
        Ok(shared) => Box::leak(Box::new(shared)),
        Err(error) => return refuse_all(requests, &error).await,
    };
    wait_at_exit(shared);
    let mut pools: Vec<Rc<Pool>> = Vec::new();
    let mut fetched = BTreeSet::new();
    while let Some(request) = requests.recv().await {
        let order = match request {
            Request::Run(order) => *order,
            Request::Fetch(kernels) => {
                let new = kernels.into_iter().filter(|kernel| fetched.insert(kernel.clone()));
                new.for_each(|kernel| drop(spawn_local(fetch(kernel, shared))));
                continue;
            }
        };
        let key = VmKey::of(&order.job, &setup.config);
        let known = pools.iter().position(|pool| pool.key == key).unwrap_or_else(|| {
            let pool = Rc::new(Pool { key, queue: Queue::new([]), refusal: RefCell::default(), shared });
            spawn_local(Rc::clone(&pool).serve());
            pools.push(pool);
            pools.len() - 1
        });
        pools[known].queue.push(order);
    }
}

/// Who wants the kernel later finds it in the store, or is told why it is not there.
async fn fetch(kernel: String, shared: &'static Shared<'static>) {
    if let Ok(source) = shared.config.kernel(&kernel) {
        drop(shared.kernel(&kernel, &source).await);
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

async fn refuse_all(mut requests: mpsc::UnboundedReceiver<Request>, error: &Error) {
    let mut refusal = Refusal::of(error);
    while let Some(request) = requests.recv().await {
        let Request::Run(order) = request else { continue };
        let instance = &order.job.instance;
        let _ = order.answer.send(judge(instance, refusal.ending(&instance.name)));
    }
}

/// The VMs of one kind, and the orders for them.
struct Pool {
    key: VmKey,
    queue: Queue<Order>,
    /// What keeps a test from running keeps the others too, at once and in the same words.
    refusal: RefCell<Option<Refusal>>,
    shared: &'static Shared<'static>,
}

impl Pool {
    /// Serves orders for ever, in a VM that is started for the first of them.
    async fn serve(self: Rc<Self>) {
        loop {
            let first = self.queue.next().await;
            Rc::clone(&self).serve_from(Some(first)).await;
        }
    }

    /// Runs the `first` order, and others, in a VM, and in a further one beside it where that pays: until somebody on the machine
    /// wants its room and no order is there. A further one has no order yet.
    fn serve_from(self: Rc<Self>, first: Option<Order>) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            let is_for_one = self.key.is_alone() || under_nextest();
            let key = self.key.clone();
            let mut session =
                if is_for_one { Session::for_one(self.shared, key) } else { Session::new(self.shared, key) };
            let (start, ended) = (session.start(), Notify::new());
            let vm = async {
                self.serve_in(&mut session, first, is_for_one).await;
                session.end().await;
                ended.notify_one();
            };
            tokio::join!(vm, self.serve_in_further(start, &ended));
        })
    }

    async fn serve_in(&self, session: &mut Session<'_>, first: Option<Order>, is_for_one: bool) {
        if first.is_none()
            && let Err(error) = session.ready().await
        {
            return self.shared.events.note(format!("a further VM cannot be had: {}", error.report()));
        }
        let mut next = first.or_else(|| self.queue.take());
        loop {
            if let Some(order) = next {
                self.run(session, order).await;
            }
            if is_for_one {
                return;
            }
            next = tokio::select! {
                biased;
                order = self.queue.next() => Some(order),
                () = room_is_wanted() => return,
            };
        }
    }

    /// Runs one test.
    async fn run(&self, session: &mut Session<'_>, order: Order) {
        let is_refused = self.refusal.borrow().is_some();
        if !is_refused && let Err(error) = session.ready().await {
            *self.refusal.borrow_mut() = Some(Refusal::of(&error));
        }
        let instance = &order.job.instance;
        let refused = self.refusal.borrow_mut().as_mut().map(|refusal| refusal.ending(&instance.name));
        let outcome = match refused {
            None => session.run(instance, &order.launch).await,
            Some(ending) => judge(instance, ending),
        };
        // A test that was given up needs no answer.
        let _ = order.answer.send(outcome);
    }

    /// As long as the VM beside which it is started has not ended.
    async fn serve_in_further(self: &Rc<Self>, start: oneshot::Receiver<Duration>, ended: &Notify) {
        let Ok(start) = start.await else { return };
        let may = || self.shared.may_start_further(&self.key).then_some(());
        tokio::select! {
            () = ended.notified() => {}
            () = self.queue.wants_further(start, may) => Rc::clone(self).serve_from(None).await,
        }
    }
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
