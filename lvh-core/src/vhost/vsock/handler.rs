//! The queues of the vsock device.

use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;

use super::connection::BUF_ALLOC;
use super::packet::{HEADER_LEN, Header};
use super::relay::Relay;
use crate::vhost::chain::Buffers;
use crate::vhost::device::{self, Device, Handler};
use crate::vhost::memory::Memory;
use crate::vhost::queue::Queue;
use crate::{Error, Result};

/// How many rounds through the queues make a fair share.
const ROUNDS: usize = 32;

/// Serves a vsock device to a guest with the address `guest_cid`.
///
/// When the guest connects to a port of the host (CID 2), `connect` gets the port and returns one end of a stream:
/// whoever has the other end then talks to the guest. `None` refuses the connection (`ECONNRESET` in the guest). It
/// runs on the device's thread and must not block. Connections from the host to the guest are not supported.
///
/// # Errors
///
/// If the operating system has no more descriptors or threads.
pub(crate) fn serve_vsock(
    guest_cid: u64,
    connect: impl Fn(u32) -> Option<UnixStream> + Send + Sync + 'static,
) -> Result<Device> {
    let vsock = Vsock::new(guest_cid, Box::new(connect)).map_err(|e| Error::io("make a vsock device", e))?;
    device::serve(vsock)
}

/// A vsock device.
pub(super) struct Vsock {
    guest_cid: u64,
    relay: Relay,
    buffer: Vec<u8>,
}

impl Handler for Vsock {
    const NAME: &str = "lvh-vsock";
    const QUEUES: usize = 2;
    const QUEUE_SIZE: u16 = 256;

    fn config(&self) -> Vec<u8> {
        self.guest_cid.to_le_bytes().into()
    }

    fn wake(&self) -> Option<BorrowedFd<'_>> {
        Some(self.relay.as_fd())
    }

    fn work(&mut self, memory: &Memory, queues: &mut [Queue]) -> bool {
        // The guest's buffers for our packets, and its packets for us. QEMU keeps the third, the event queue, to
        // itself.
        let [rx, tx] = queues else { return false };
        for _ in 0..ROUNDS {
            self.relay.poll();
            // Asked for before we look, so that no kick is missed in between.
            rx.listen(memory);
            tx.listen(memory);
            if !(self.take_packets(memory, tx) | self.give_packets(memory, rx)) {
                return false;
            }
        }
        true
    }
}

impl Vsock {
    pub(super) fn new(guest_cid: u64, connect: super::relay::Connect) -> std::io::Result<Self> {
        let relay = Relay::new(guest_cid, connect)?;
        Ok(Self { guest_cid, relay, buffer: vec![0; HEADER_LEN + BUF_ALLOC as usize] })
    }

    /// Takes what the guest sent; returns whether there was any.
    fn take_packets(&mut self, memory: &Memory, tx: &mut Queue) -> bool {
        let mut used = false;
        for _ in 0..Self::QUEUE_SIZE {
            if self.relay.is_stalled() {
                break;
            }
            let Some(chain) = tx.pop(memory) else { break };
            used = true;
            if let Some((header, payload)) = self.read_packet(memory, &chain.readable) {
                self.relay.receive(&header, &self.buffer[..payload]);
            }
            if tx.push(memory, chain.head, 0).is_none() {
                break;
            }
        }
        if used {
            tx.signal(memory);
        }
        used
    }

    /// Reads a packet: its header, and how much payload is in the buffer. `None` is too short for a header or outside of the
    /// guest's memory.
    fn read_packet(&mut self, memory: &Memory, packet: &Buffers) -> Option<(Header, usize)> {
        let mut bytes = [0; HEADER_LEN];
        packet.read(memory, 0, &mut bytes)?;
        let header = Header::parse(&bytes);
        let payload = (header.len.min(BUF_ALLOC) as usize).min(packet.len() - HEADER_LEN);
        packet.read(memory, HEADER_LEN, &mut self.buffer[..payload])?;
        Some((header, payload))
    }

    /// Gives the guest what there is for it and what it has buffers for; returns whether it got any.
    fn give_packets(&mut self, memory: &Memory, rx: &mut Queue) -> bool {
        let mut used = false;
        for _ in 0..Self::QUEUE_SIZE {
            let Some(chain) = rx.pop(memory) else { break };
            let Some(length) = self.write_packet(memory, &chain.writable) else {
                rx.put_back();
                break;
            };
            used = true;
            if rx.push(memory, chain.head, length).is_none() {
                break;
            }
        }
        if used {
            rx.signal(memory);
        }
        used
    }

    /// Writes the next packet into `room` and returns its length, 0 if that is no good. `None`: there is no packet.
    fn write_packet(&mut self, memory: &Memory, room: &Buffers) -> Option<u32> {
        let Some(payload) = room.len().checked_sub(HEADER_LEN) else { return Some(0) };
        let (head, body) = self.buffer.split_at_mut(HEADER_LEN);
        let payload = payload.min(body.len());
        let header = self.relay.next_packet(&mut body[..payload])?;
        head.copy_from_slice(&header.to_bytes());
        let packet = &self.buffer[..HEADER_LEN + header.len as usize];
        Some(room.write(memory, 0, packet).map_or(0, |()| packet.len() as u32))
    }
}
