//! A guest for tests: its memory, its queues, and a source of odd bytes.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::device::Handler;
use super::memory::{Memory, Place};
use super::queue::{Queue, Rings};

/// The length of each queue.
pub(super) const LENGTH: u16 = 16;
/// Where a test may put its buffers.
pub(super) const DATA: u64 = 0x10000;
/// The bytes of memory.
pub(super) const MEMORY: usize = 0x20_0000;
/// Where QEMU has the guest's memory.
pub(super) const USER: u64 = 0x7f00_0000_0000;

pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;
pub(super) const INDIRECT: u16 = 4;

/// A guest with queues of 16 descriptors.
pub(super) struct FakeGuest {
    pub(super) memory: Memory,
    /// The file that the memory is in.
    pub(super) file: OwnedFd,
    pub(super) queues: Vec<Queue>,
    filled: Vec<u16>,
}

impl FakeGuest {
    pub(super) fn new(queues: usize) -> Self {
        let file = memfd_create("lvh-test", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, MEMORY as u64).unwrap();
        let memory = Memory::map(&[place()], std::slice::from_ref(&file)).unwrap();
        let queues = (0..queues).map(|number| queue(&memory, number)).collect::<Vec<_>>();
        Self { filled: vec![0; queues.len()], queues, file, memory }
    }

    pub(super) fn write(&self, address: u64, bytes: &[u8]) {
        self.memory.write(address, bytes).unwrap();
    }

    pub(super) fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory.read(address, &mut bytes).unwrap();
        bytes
    }

    /// Offers one chain of (address, length, flags); the one before has to be used up.
    pub(super) fn offer(&mut self, queue: usize, descriptors: &[(u64, u32, u16)]) {
        self.table(base(queue), descriptors);
        self.offer_head(queue, 0);
    }

    /// Writes descriptors, each followed by the next one.
    pub(super) fn table(&self, address: u64, descriptors: &[(u64, u32, u16)]) {
        for (index, (buffer, length, flags)) in descriptors.iter().enumerate() {
            let mut bytes = buffer.to_le_bytes().to_vec();
            bytes.extend(length.to_le_bytes());
            bytes.extend(flags.to_le_bytes());
            bytes.extend((index as u16 + 1).to_le_bytes());
            self.write(address + 16 * index as u64, &bytes);
        }
    }

    /// Offers the chain that begins with a descriptor.
    pub(super) fn offer_head(&mut self, queue: usize, head: u16) {
        let slot = u64::from(self.filled[queue] % LENGTH);
        self.write(base(queue) + 0x400 + 4 + 2 * slot, &head.to_le_bytes());
        self.filled[queue] = self.filled[queue].wrapping_add(1);
        self.write(base(queue) + 0x400 + 2, &self.filled[queue].to_le_bytes());
    }

    /// Overwrites descriptors and rings with `byte()`.
    pub(super) fn scribble(&mut self, queue: usize, byte: &mut dyn FnMut() -> u8) {
        let bytes: Vec<u8> = (0..0x500).map(|_| byte()).collect();
        self.write(base(queue), &bytes);
        // What a guest may do: offer at most one round more than was taken.
        let taken = self.queues[queue].next_available;
        self.filled[queue] = taken.wrapping_add(u16::from(byte()) % (LENGTH + 2));
        self.write(base(queue) + 0x402, &self.filled[queue].to_le_bytes());
    }

    /// The length that the device reported for the chain it used last.
    pub(super) fn last_used(&self, queue: usize) -> u32 {
        let used = base(queue) + 0x800;
        let index = u16::from_le_bytes(self.read(used + 2, 2).try_into().unwrap());
        let slot = u64::from(index.wrapping_sub(1) % LENGTH);
        u32::from_le_bytes(self.read(used + 4 + 8 * slot + 4, 4).try_into().unwrap())
    }

    /// How many chains the device used.
    pub(super) fn used(&self, queue: usize) -> u16 {
        u16::from_le_bytes(self.read(base(queue) + 0x802, 2).try_into().unwrap())
    }

    /// Whether the device interrupted the guest since this was last asked.
    pub(super) fn was_interrupted(&self, queue: usize) -> bool {
        let call = self.queues[queue].call.as_ref().unwrap();
        rustix::io::read(call.as_fd(), &mut [0; 8]).is_ok()
    }

    /// Has the device do all there is.
    pub(super) fn run(&mut self, device: &mut impl Handler) {
        for _ in 0..10_000 {
            if !device.work(&self.memory, &mut self.queues) {
                return;
            }
        }
        panic!("the device never comes to rest");
    }
}

/// Where the guest's one region of memory is.
pub(super) fn place() -> Place {
    Place { guest: 0, size: MEMORY as u64, user: USER, offset: 0 }
}

fn queue(memory: &Memory, number: usize) -> Queue {
    let event = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok();
    let (enabled, event_index) = (true, true);
    let mut queue = Queue { size: LENGTH, enabled, event_index, kick: event(), call: event(), ..Queue::default() };
    queue.place(memory, rings(number)).unwrap();
    queue
}

/// Where a queue has its rings.
pub(super) fn rings(queue: usize) -> Rings {
    let base = base(queue);
    Rings { descriptors: base, available: base + 0x400, used: base + 0x800 }
}

fn base(queue: usize) -> u64 {
    0x1000 * (queue as u64 + 1)
}

/// xorshift64: the same odd numbers in every run.
pub(super) struct Odd(pub(super) u64);

impl Odd {
    pub(super) fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.number() as u8).collect()
    }
}
