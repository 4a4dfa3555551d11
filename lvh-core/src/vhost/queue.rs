//! A split virtqueue (virtio 1.2, 2.7), as the device sees it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

use super::chain::Chain;
use super::memory::Memory;

/// Set in the available ring by a driver that wants no interrupts.
const NO_INTERRUPT: u16 = 1;

/// Where the rings are, in the guest's memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rings {
    pub(super) descriptors: u64,
    pub(super) available: u64,
    pub(super) used: u64,
}

/// A queue. It is empty until QEMU has started and enabled it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) rings: Option<Rings>,
    pub(super) size: u16,
    /// Event indexes were agreed on: each side says which entry it wants to be told of.
    pub(super) event_index: bool,
    pub(super) enabled: bool,
    /// The guest says here that there is something; QEMU started the queue with it.
    pub(super) kick: Option<OwnedFd>,
    /// The guest's interrupt.
    pub(super) call: Option<OwnedFd>,
    pub(super) next_available: u16,
    pub(super) next_used: u16,
    /// Up to where the guest was told of used entries.
    pub(super) told: Option<u16>,
}

impl Queue {
    /// QEMU gave the place of the rings; the guest's count of what was used goes on.
    pub(super) fn place(&mut self, memory: &Memory, rings: Rings) -> Option<()> {
        self.next_used = memory.load(rings.used.checked_add(2)?)?;
        (self.rings, self.told) = (Some(rings), None);
        Some(())
    }

    /// The next request.
    pub(super) fn pop(&mut self, memory: &Memory) -> Option<Chain> {
        let rings = self.rings()?;
        let available = memory.load(rings.available.checked_add(2)?)?;
        // More than the queue holds: a driver that has lost its mind.
        if !(1..=self.size).contains(&available.wrapping_sub(self.next_available)) {
            return None;
        }
        let slot = u64::from(self.next_available % self.size);
        let head = memory.load(rings.available.checked_add(4 + 2 * slot)?)?;
        self.next_available = self.next_available.wrapping_add(1);
        Some(Chain::read(memory, rings.descriptors, self.size, head))
    }

    /// Puts the request back that was popped last.
    pub(super) fn put_back(&mut self) {
        self.next_available = self.next_available.wrapping_sub(1);
    }

    /// Gives a request back with `length` bytes of answer. `None`: the ring is not in memory, or the request not of the queue.
    pub(super) fn push(&mut self, memory: &Memory, head: u16, length: u32) -> Option<()> {
        let rings = self.rings().filter(|_| head < self.size)?;
        let slot = u64::from(self.next_used % self.size);
        let entry = [u32::from(head).to_le_bytes(), length.to_le_bytes()].concat();
        memory.write(rings.used.checked_add(4 + 8 * slot)?, &entry)?;
        self.next_used = self.next_used.wrapping_add(1);
        memory.store(rings.used + 2, self.next_used)
    }

    /// Asks the guest for a kick when it has something new. To be called before looking, so that none is missed in between.
    pub(super) fn listen(&self, memory: &Memory) {
        if let Some(rings) = self.rings().filter(|_| self.event_index) {
            // A ring out of memory hurts the guest alone.
            let _ = memory.store(rings.used.saturating_add(4 + 8 * u64::from(self.size)), self.next_available);
            fence(Ordering::SeqCst);
        }
    }

    /// Interrupts the guest if it wants to know of what was used.
    pub(super) fn signal(&mut self, memory: &Memory) {
        // Where the ring is unreadable a superfluous interrupt does no harm; QEMU is gone if nobody takes it.
        if self.wants_signal(memory).unwrap_or(true)
            && let Some(call) = &self.call
        {
            let _ = rustix::io::write(call.as_fd(), &1_u64.to_ne_bytes());
        }
    }

    fn wants_signal(&mut self, memory: &Memory) -> Option<bool> {
        let rings = self.rings()?;
        fence(Ordering::SeqCst);
        if !self.event_index {
            return Some(memory.load(rings.available)? & NO_INTERRUPT == 0);
        }
        let told = self.told.replace(self.next_used);
        let wanted = memory.load(rings.available.checked_add(4 + 2 * u64::from(self.size))?)?;
        // virtio 1.2, 2.7.10: whether the wanted entry is among those used since.
        let since = |index: u16| self.next_used.wrapping_sub(index);
        Some(told.is_none_or(|told| since(wanted).wrapping_sub(1) < since(told)))
    }

    /// QEMU stops the queue; returns where it has to go on.
    pub(super) fn stop(&mut self) -> u16 {
        (self.kick, self.call) = (None, None);
        self.next_available
    }

    fn rings(&self) -> Option<Rings> {
        self.rings.filter(|_| self.enabled && self.size > 0 && self.kick.is_some())
    }
}
