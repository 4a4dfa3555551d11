//! Tests that wait for a VM that is free.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How many times the start of a VM a test waits until it gets a VM of its own: so a run takes no more than a quarter longer for
/// starts that did not pay.
const PATIENCE: u32 = 4;

/// The tests that wait for VMs of one kind, first come, first served.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    waiting: RefCell<VecDeque<(Instant, T)>>,
    changed: Notify,
}

impl<T> Queue<T> {
    /// Those of `items`, all of which wait from now on.
    pub(crate) fn new(items: impl IntoIterator<Item = T>) -> Self {
        let now = Instant::now();
        let waiting = items.into_iter().map(|item| (now, item)).collect();
        Self { waiting: RefCell::new(waiting), changed: Notify::new() }
    }

    /// One more, behind the others.
    pub(crate) fn push(&self, item: T) {
        self.waiting.borrow_mut().push_back((Instant::now(), item));
        self.changed.notify_waiters();
    }

    /// The first, if one waits.
    pub(crate) fn take(&self) -> Option<T> {
        let (_, item) = self.waiting.borrow_mut().pop_front()?;
        self.changed.notify_waiters();
        Some(item)
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Waits for one.
    pub(crate) async fn next(&self) -> T {
        self.until(Self::take).await
    }

    /// Returns when nobody waits.
    pub(crate) async fn emptied(&self) {
        self.until(|queue| queue.is_empty().then_some(())).await;
    }

    /// Waits until a further VM pays, where one starts in about the time `start`, and `may` lets it: gives what that gave.
    pub(crate) async fn wants_further<P>(&self, start: Duration, may: impl Fn() -> Option<P>) -> P {
        let patience = start * PATIENCE;
        loop {
            // From now on: before, there was none.
            tokio::time::sleep(patience).await;
            if self.has_waited(patience)
                && let Some(permit) = may()
            {
                return permit;
            }
        }
    }

    fn has_waited(&self, patience: Duration) -> bool {
        self.waiting.borrow().front().is_some_and(|(since, _)| since.elapsed() >= patience)
    }

    /// What `look` finds, as soon as it does.
    async fn until<R>(&self, look: impl Fn(&Self) -> Option<R>) -> R {
        loop {
            let changed = self.changed.notified();
            match look(self) {
                Some(found) => return found,
                None => changed.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const START: Duration = Duration::from_millis(5);

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
    }

    #[test]
    fn first_come_first_served() {
        run(async {
            let queue = Queue::new([1, 2]);
            queue.push(3);
            assert_eq!([queue.next().await, queue.next().await], [1, 2]);
            let ((), last) = tokio::join!(queue.emptied(), queue.next());
            assert_eq!(last, 3);
            let (next, ()) = tokio::join!(queue.next(), async { queue.push(4) });
            assert_eq!((next, queue.take(), queue.is_empty()), (4, None, true));
        });
    }

    #[test]
    fn a_further_vm_pays_where_tests_wait() {
        run(async {
            let (queue, asked) = (Queue::new(["waits"]), Cell::new(0));
            let may = || {
                asked.set(asked.get() + 1);
                (asked.get() == 2).then_some("may")
            };
            let since = Instant::now();
            assert_eq!(queue.wants_further(START, may).await, "may");
            assert!(since.elapsed() >= START * PATIENCE * 2);
        });
    }

    #[test]
    fn a_further_vm_does_not_pay_where_none_waits_long() {
        run(async {
            let queue = Queue::new(["first"]);
            let busy = async {
                for _ in 0..8 {
                    queue.take();
                    queue.push("next");
                    tokio::time::sleep(START).await;
                }
            };
            tokio::select! {
                () = queue.wants_further(Duration::from_millis(500), || Some(())) => panic!("nobody waits that long"),
                () = busy => {}
            }
        });
    }
}
