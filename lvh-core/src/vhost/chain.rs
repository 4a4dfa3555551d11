//! Descriptor chains: the buffers that make one request (virtio 1.2, 2.7.5).

use std::fs::File;
use std::io;

use super::memory::Memory;

/// How many buffers a chain may have: the length of our longest queue. A loop ends here.
const MAX_BUFFERS: usize = 1024;

/// The bytes of a descriptor.
pub(super) const DESCRIPTOR: u64 = 16;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// A piece of the guest's memory, by its word: where and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Buffer {
    pub(super) address: u64,
    pub(super) length: u32,
}

/// A request: what to read, and where to answer. One that breaks the rules has neither.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// Its number, to give it back.
    pub(super) head: u16,
    pub(super) readable: Buffers,
    pub(super) writable: Buffers,
}

impl Chain {
    /// Reads the chain that begins with the descriptor `head` of a table.
    pub(super) fn read(memory: &Memory, table: u64, size: u16, head: u16) -> Self {
        let mut chain = Self { head, ..Self::default() };
        match chain.walk(memory, table, size, head) {
            Some(()) => chain,
            None => Self { head, ..Self::default() },
        }
    }

    fn walk(&mut self, memory: &Memory, mut table: u64, mut size: u16, head: u16) -> Option<()> {
        let (mut index, mut is_indirect) = (head, false);
        for _ in 0..=MAX_BUFFERS {
            let (buffer, flags, next) = descriptor(memory, table, size, index)?;
            if flags & INDIRECT != 0 {
                // The table of a table, or one that goes on outside of itself.
                if is_indirect || flags & NEXT != 0 {
                    return None;
                }
                let count = u64::from(buffer.length) / DESCRIPTOR;
                (table, size, index, is_indirect) = (buffer.address, u16::try_from(count).ok()?, 0, true);
                continue;
            }
            let buffers = if flags & WRITE != 0 { &mut self.writable } else { &mut self.readable };
            buffers.0.push(buffer);
            if flags & NEXT == 0 {
                return Some(());
            }
            index = next;
        }
        None
    }
}

fn descriptor(memory: &Memory, table: u64, size: u16, index: u16) -> Option<(Buffer, u16, u16)> {
    if index >= size {
        return None;
    }
    let mut bytes = [0; DESCRIPTOR as usize];
    memory.read(table.checked_add(DESCRIPTOR * u64::from(index))?, &mut bytes)?;
    let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let address = u64::from_le_bytes(*bytes.first_chunk()?);
    let length = u32::from_le_bytes(*bytes[8..].first_chunk()?);
    Some((Buffer { address, length }, half(12), half(14)))
}

/// Buffers that are read or written as one stream of bytes.
#[derive(Debug, Default)]
pub(super) struct Buffers(Vec<Buffer>);

impl Buffers {
    /// How many bytes they have; a guest may claim more than it has memory.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|buffer| buffer.length as usize).sum()
    }

    /// Reads from `at` on. `None`: it is beyond the buffers, or they are not in memory.
    pub(super) fn read(&self, memory: &Memory, at: usize, mut bytes: &mut [u8]) -> Option<()> {
        for buffer in self.range(at, bytes.len())? {
            let (first, rest) = bytes.split_at_mut(buffer.length as usize);
            memory.read(buffer.address, first)?;
            bytes = rest;
        }
        Some(())
    }

    /// Writes from `at` on. `None`: it is beyond the buffers, or they are not in memory.
    pub(super) fn write(&self, memory: &Memory, at: usize, mut bytes: &[u8]) -> Option<()> {
        for buffer in self.range(at, bytes.len())? {
            let (first, rest) = bytes.split_at(buffer.length as usize);
            memory.write(buffer.address, first)?;
            bytes = rest;
        }
        Some(())
    }

    /// Reads `length` bytes of a file from `offset` on into what begins at `at`; returns how many there were.
    pub(super) fn read_file(
        &self,
        memory: &Memory,
        (at, length): (usize, usize),
        file: &File,
        offset: u64,
    ) -> io::Result<usize> {
        let fault = || io::Error::from_raw_os_error(libc::EFAULT);
        memory.read_file(&self.range(at, length).ok_or_else(fault)?, file, offset).ok_or_else(fault)?
    }

    /// The pieces that make `length` bytes from `at` on.
    fn range(&self, mut at: usize, mut length: usize) -> Option<Vec<Buffer>> {
        let mut range = Vec::new();
        for Buffer { address, length: whole } in &self.0 {
            let before = at.min(*whole as usize);
            let part = length.min(*whole as usize - before);
            if part > 0 {
                range.push(Buffer { address: address.checked_add(before as u64)?, length: part as u32 });
            }
            (at, length) = (at - before, length - part);
        }
        (length == 0).then_some(range)
    }
}
