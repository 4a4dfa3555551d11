//! A guest for tests: its memory, its queues, and a source of odd bytes.

use vhost_user_backend::VringT;

use super::vring::Vring;
use virtio_queue::QueueT;
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};

use super::device::Handler;

/// The length of each queue.
pub(super) const LENGTH: u16 = 16;
/// Where a test may put its buffers.
pub(super) const DATA: u64 = 0x10000;
/// The bytes of memory.
pub(super) const MEMORY: usize = 0x20_0000;

pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;

/// A guest with queues of 16 descriptors.
pub(super) struct FakeGuest {
    memory: GuestMemoryAtomic<GuestMemoryMmap>,
    queues: Vec<Vring>,
    filled: Vec<u16>,
}

impl FakeGuest {
    pub(super) fn new(queues: usize) -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap();
        let memory = GuestMemoryAtomic::new(memory);
        let queue = |number: usize| {
            let queue = Vring::new(memory.clone(), LENGTH).unwrap();
            let base = base(number);
            queue.set_queue_size(LENGTH);
            queue.set_queue_info(base, base + 0x400, base + 0x800).unwrap();
            queue.set_queue_event_idx(true);
            queue.set_queue_ready(true);
            queue
        };
        Self { queues: (0..queues).map(queue).collect(), filled: vec![0; queues], memory }
    }

    pub(super) fn write(&self, address: u64, bytes: &[u8]) {
        self.memory.memory().write_slice(bytes, GuestAddress(address)).unwrap();
    }

    pub(super) fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory.memory().read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }

    /// Offers one chain of (address, length, flags); the one before has to be used up.
    pub(super) fn offer(&mut self, queue: usize, descriptors: &[(u64, u32, u16)]) {
        let base = base(queue);
        for (index, (address, length, flags)) in descriptors.iter().enumerate() {
            let mut bytes = address.to_le_bytes().to_vec();
            bytes.extend(length.to_le_bytes());
            bytes.extend(flags.to_le_bytes());
            bytes.extend((index as u16 + 1).to_le_bytes());
            self.write(base + 16 * index as u64, &bytes);
        }
        let slot = u64::from(self.filled[queue] % LENGTH);
        self.write(base + 0x400 + 4 + 2 * slot, &0_u16.to_le_bytes());
        self.filled[queue] = self.filled[queue].wrapping_add(1);
        self.write(base + 0x400 + 2, &self.filled[queue].to_le_bytes());
    }

    /// Overwrites descriptors and rings with `byte()`.
    pub(super) fn scribble(&mut self, queue: usize, byte: &mut dyn FnMut() -> u8) {
        let bytes: Vec<u8> = (0..0x500).map(|_| byte()).collect();
        self.write(base(queue), &bytes);
        // What a guest may do: offer at most one round more than was taken.
        let taken = self.queues[queue].get_ref().get_queue().next_avail();
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

    /// Has the device do all there is.
    pub(super) fn run(&self, device: &mut impl Handler) {
        for _ in 0..10_000 {
            if !device.work(&self.memory.memory(), &self.queues) {
                return;
            }
        }
        panic!("the device never comes to rest");
    }
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
