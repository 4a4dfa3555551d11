//! Who of those that want a VM may start it: a pure function of all claims and of the machine.
//!
//! 1. First come, first served, as many as the machine has room for: by number and by memory, what runs and what came earlier counts.
//!    Where none does, there is room.
//! 2. What was started by a process that has a VM waits for nobody, one such at a time: its parent may be waiting for it.
//! 3. Where none of those in front came or went for [`PATIENCE`], the first in the line goes on all the same, for what runs is stuck
//!    or waits itself; the second after twice that, and so on. Only memory that is not there stops them.
//!
//! One that is larger than the machine makes no claim: it would wait until nothing else runs, and keep all who came later.
//!
//! By 1, nobody overtakes and no more run than fit. By 3, nobody waits for ever, neither for a process that was stopped, nor when
//! several have VMs and each wants another.

use std::iter::repeat_n;
use std::time::Duration;

use super::claim::{Claim, State};
use crate::machine::room::{Left, Room};

/// How long nothing may happen in front of somebody until they go on all the same.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// For how long a VM that started may not have touched the memory that it will, in nanoseconds.
const GROWING: u64 = 10_000_000_000;

/// For how long one that chooses is waited for, in nanoseconds; in that time it has chosen, or chooses again.
pub(super) const CHOOSING: u64 = 1_000_000_000;

/// What is in front of a claim.
pub(super) struct Line {
    own: Claim,
    /// What runs, then what came earlier, in order.
    pub(super) ahead: Vec<Claim>,
    /// Whether somebody may still come to stand in front.
    pub(super) unsettled: bool,
}

impl Line {
    /// In front of `own`, of all `claims` at the time `now`.
    pub(super) fn new(own: Claim, claims: &[Claim], now: u64) -> Self {
        let others = || claims.iter().filter(|claim| claim.ticket != own.ticket).copied();
        let running = others().filter(Claim::runs);
        let earlier = others().filter(|claim| claim.state == State::Waiting && claim.ticket < own.ticket);
        let chooses = |claim: Claim| claim.state == State::Choosing && now.saturating_sub(claim.ticket.time) < CHOOSING;
        Self {
            own,
            ahead: running.chain(earlier).collect(),
            unsettled: others().any(|claim| chooses(claim) && claim.ticket.time <= own.ticket.time),
        }
    }

    /// How many VMs would be too many if `own` started now.
    pub(super) fn excess(&self, room: &Room) -> usize {
        self.excess_of(1, room)
    }

    /// Whether two more like it would fit as well.
    pub(super) fn is_far_from_full(&self, room: &Room) -> bool {
        self.excess_of(3, room) == 0
    }

    fn excess_of(&self, count: usize, room: &Room) -> usize {
        let mut memory = 0;
        let all = self.ahead.iter().chain(repeat_n(&self.own, count)).enumerate();
        let fitting = all.take_while(|&(index, claim)| {
            memory += claim.mib;
            index == 0 || (index < room.vms && memory <= room.memory_mib)
        });
        self.ahead.len() + count - fitting.count()
    }

    /// Whether what the machine has left is enough for `own`, beside those that have not taken theirs yet.
    pub(super) fn is_left(&self, left: &Left, now: u64) -> bool {
        let is_new = |claim: &&Claim| match claim.state {
            State::Running { since } => now.saturating_sub(since) < GROWING,
            _ => true,
        };
        let new: Vec<&Claim> = self.ahead.iter().filter(is_new).collect();
        let memory: u64 = new.iter().map(|claim| claim.mib).sum();
        self.ahead.is_empty() || (memory + self.own.mib <= left.memory_mib && (new.len() as u64) < left.vms)
    }

    /// As many as this may be too many by now: `still` is for how long nothing happened in front.
    pub(super) fn tolerated(still: Duration) -> usize {
        usize::try_from(still.as_secs() / PATIENCE.as_secs()).unwrap_or(usize::MAX)
    }
}

impl Claim {
    /// Whether it has its VM.
    pub(super) fn runs(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::super::claim::{Owner, Ticket};
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn claim(time: u64, state: State, mib: u64) -> Claim {
        let owner = Owner { namespace: 1, pid: 7 };
        Claim { ticket: Ticket { time, owner, number: 0 }, state, mib }
    }

    const RUNNING: State = State::Running { since: 0 };

    #[track_caller]
    fn check(claims: &[(u64, State, u64)], own: u64, excess: usize) {
        let claims: Vec<Claim> = claims.iter().map(|&(time, state, mib)| claim(time, state, mib)).collect();
        let own = *claims.iter().find(|claim| claim.ticket.time == own).unwrap();
        let line = Line::new(own, &claims, 100);
        let room = Room { vms: 3, memory_mib: 1000 };
        assert_eq!(line.excess(&room), excess, "{claims:?}");
        assert!(excess == 0 || !line.is_far_from_full(&room));
    }

    #[test]
    fn as_many_as_fit_in_the_order_of_their_coming() {
        use State::Waiting;
        check(&[(1, Waiting, 5000)], 1, 0);
        check(&[(1, RUNNING, 100), (2, RUNNING, 100), (3, Waiting, 100)], 3, 0);
        check(&[(1, RUNNING, 100), (2, RUNNING, 100), (3, Waiting, 100), (4, Waiting, 100)], 4, 1);
        // Who came later does not count, unless it runs.
        check(&[(1, RUNNING, 100), (3, Waiting, 100), (4, Waiting, 100), (5, RUNNING, 100)], 3, 0);
        check(&[(1, RUNNING, 100), (3, Waiting, 100), (4, RUNNING, 100), (5, RUNNING, 100)], 3, 1);
        // A small one does not overtake a large one that waits.
        check(&[(1, RUNNING, 600), (2, Waiting, 600), (3, Waiting, 100)], 3, 2);
        check(&[(1, RUNNING, 600), (2, Waiting, 600), (3, Waiting, 100)], 2, 1);
        check(&[(1, RUNNING, 5000), (2, Waiting, 1)], 2, 1);
    }

    #[test]
    fn who_may_still_come_in_front_is_waited_for() {
        let unsettled = |claims: &[Claim], now| Line::new(claim(5, State::Waiting, 1), claims, now).unsettled;
        assert!(!unsettled(&[claim(6, State::Choosing, 1)], 7));
        assert!(unsettled(&[claim(4, State::Choosing, 1)], 7));
        assert!(!unsettled(&[claim(4, State::Choosing, 1)], 7 + CHOOSING));
    }

    #[test]
    fn memory_that_is_not_there_stops_all_but_the_only_one() {
        let left = |memory_mib, vms| Left { memory_mib, vms };
        let running = |since| claim(1, State::Running { since }, 300);
        let line = |ahead: Vec<Claim>| Line { own: claim(9, State::Waiting, 100), ahead, unsettled: false };
        assert!(line(vec![]).is_left(&left(0, 0), 0));
        assert!(line(vec![running(0)]).is_left(&left(100, 1), 10 * SECOND));
        assert!(!line(vec![running(0)]).is_left(&left(99, 1), 10 * SECOND));
        assert!(!line(vec![running(0)]).is_left(&left(399, 9), 9 * SECOND));
        assert!(line(vec![running(0)]).is_left(&left(400, 2), 9 * SECOND));
        assert!(!line(vec![running(0)]).is_left(&left(400, 1), 9 * SECOND));
    }

    #[test]
    fn nobody_waits_for_ever() {
        let tolerated = |seconds| Line::tolerated(Duration::from_secs(seconds));
        assert_eq!([0, 59, 60, 119, 120].map(tolerated), [0, 0, 1, 1, 2]);
    }
}
