//! Waiting for room.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use super::ancestors::ancestors;
use super::claim::{Claim, Owner, State, Ticket, now};
use super::rule::{CHOOSING, Line};
use crate::config::Memory;
use crate::event::Events;
use crate::machine::room::{Left, Room, need_of_vm};

/// How often the first in the line looks whether there is room; those behind it, accordingly less often.
const INTERVAL: Duration = Duration::from_millis(10);

/// How often they look at least.
const LONGEST_INTERVAL: Duration = Duration::from_millis(200);

/// How soon somebody has chosen a ticket, usually.
const MOMENT: Duration = Duration::from_millis(1);

/// After so long it is told what is waited for.
const TOLD_AFTER: Duration = Duration::from_secs(3);

/// Room on the machine for one VM: until this is dropped, or the process is gone.
#[derive(Debug)]
pub(crate) struct Slot {
    /// None where the operating system does not let processes know of each other, and for a VM that the machine never has room
    /// for: then nobody waits.
    _claim: Option<UnixDatagram>,
}

impl Slot {
    /// Waits until there is room for a VM that takes `mib` of memory in all. One that takes more than there ever is waits for nobody
    /// and keeps nobody: QEMU says what becomes of it.
    pub(crate) async fn take(mib: u64, room: Room, subject: &str, events: &Events) -> Self {
        if room.memory_mib > 0 && mib > room.memory_mib {
            return Self { _claim: None };
        }
        Self { _claim: take(mib, room, subject, events).await.ok() }
    }
}

async fn take(mib: u64, room: Room, subject: &str, events: &Events) -> io::Result<UnixDatagram> {
    let (claim, waiting) = queue_up(mib)?;
    let mut watch = Watch::new();
    loop {
        let line = look(claim)?;
        let still = watch.look(&line);
        if may_go(&line, &room, still) && (line.is_far_from_full(&room) || may_go(&look(claim)?, &room, still)) {
            let running = Claim { state: State::Running { since: now() }, ..claim }.publish()?;
            drop(waiting);
            return Ok(running);
        }
        if watch.is_to_tell() {
            events.step(subject, told(mib, &line));
        }
        tokio::time::sleep(interval(&line)).await;
    }
}

/// Takes a ticket that is later than all that anybody has seen.
fn queue_up(mib: u64) -> io::Result<(Claim, UnixDatagram)> {
    loop {
        let choosing = Claim { ticket: Ticket::take(), state: State::Choosing, mib };
        let known = choosing.publish()?;
        let claim = Claim { ticket: Ticket::take(), state: State::Waiting, mib };
        let waiting = claim.publish()?;
        drop(known);
        // Who was stopped meanwhile may have come to stand in front of others that have gone on.
        if now() - choosing.ticket.time < CHOOSING / 2 {
            return Ok((claim, waiting));
        }
    }
}

/// The list is not of one moment and may lack who moves meanwhile: where that matters, one looks twice.
fn look(claim: Claim) -> io::Result<Line> {
    Ok(Line::new(claim, &Claim::all()?, now()))
}

fn may_go(line: &Line, room: &Room, still: Duration) -> bool {
    if line.unsettled {
        return false;
    }
    let excess = line.excess(room);
    line.ahead.is_empty()
        || (excess <= Line::tolerated(still) && line.is_left(&Left::now(), now()))
        || takes_place_of_parent(&line.ahead)
}

/// Whether the nearest process above this one that has a VM has no other below it that has one, or came earlier.
fn takes_place_of_parent(ahead: &[Claim]) -> bool {
    let here = Owner::here();
    let near = || ahead.iter().filter(|claim| claim.ticket.owner.namespace == here.namespace);
    let has_vm = |&pid: &u32| near().any(|claim| claim.runs() && claim.ticket.owner.pid == pid);
    let Some(parent) = ancestors(here.pid).find(has_vm) else { return false };
    !near().any(|claim| ancestors(claim.ticket.owner.pid).any(|pid| pid == parent))
}

/// What has happened in front.
struct Watch {
    since: Instant,
    ahead: Vec<Claim>,
    changed: Instant,
    told: bool,
}

impl Watch {
    fn new() -> Self {
        let now = Instant::now();
        Self { since: now, ahead: Vec::new(), changed: now, told: false }
    }

    /// For how long nobody in front came or went.
    fn look(&mut self, line: &Line) -> Duration {
        if self.ahead != line.ahead {
            self.ahead.clone_from(&line.ahead);
            self.changed = Instant::now();
        }
        self.changed.elapsed()
    }

    fn is_to_tell(&mut self) -> bool {
        let late = !self.told && self.since.elapsed() >= TOLD_AFTER;
        self.told |= late;
        late
    }
}

fn interval(line: &Line) -> Duration {
    if line.unsettled {
        return MOMENT;
    }
    let waiting = line.ahead.iter().filter(|claim| !claim.runs()).count();
    (INTERVAL * u32::try_from(waiting + 1).unwrap_or(u32::MAX)).min(LONGEST_INTERVAL)
}

/// What is waited for, and whose it is.
fn told(mib: u64, line: &Line) -> String {
    let running: Vec<&Claim> = line.ahead.iter().filter(|claim| claim.runs()).collect();
    let here = Owner::here();
    let mut pids: Vec<u32> = running
        .iter()
        .map(|claim| claim.ticket.owner)
        .filter(|owner| owner.namespace == here.namespace)
        .map(|owner| owner.pid)
        .collect();
    pids.sort_unstable();
    pids.dedup();
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let whose = if pids.is_empty() { "of other containers".to_owned() } else { format!("pid {}", pids.join(", ")) };
    let (count, verb) = (running.len(), if running.len() == 1 { "VM runs" } else { "VMs run" });
    format!("waiting for room for a VM of {mib} MiB: {count} {verb} ({whose})")
}

/// Whether a VM with this memory would wait for nobody; `vms` where the user says how many may run.
pub fn has_room(memory: Memory, vms: Option<usize>) -> bool {
    let (mib, room) = (need_of_vm(memory), Room::of_machine(vms));
    let claim = Claim { ticket: Ticket::take(), state: State::Waiting, mib };
    look(claim).is_ok_and(|line| line.excess(&room) == 0 && line.is_left(&Left::now(), now()))
}

/// Returns when somebody waits for room: who has a VM that does nothing should end it.
pub async fn room_is_wanted() {
    loop {
        tokio::time::sleep(INTERVAL * 10).await;
        let late = |claim: &Claim| claim.state == State::Waiting && now().saturating_sub(claim.ticket.time) > LATE;
        if Claim::all().is_ok_and(|claims| claims.iter().any(late)) {
            return;
        }
    }
}

/// Who waits for longer than this found no room, in nanoseconds.
const LATE: u64 = 50_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Other VMs may run or wait meanwhile.
    #[tokio::test]
    async fn what_never_fits_keeps_nobody() {
        let room = Room { vms: 1, memory_mib: 1000 };
        assert!(Slot::take(1001, room, "kernel `k`", &Events::silent()).await._claim.is_none());
    }
}
