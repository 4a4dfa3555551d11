//! The queues of the vsock device.

use std::io::{Read, Write};
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;

use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost_user_backend::{VringState, VringT};
use virtio_queue::{DescriptorChain, QueueOwnedT, QueueT, Reader, Writer};
use vm_memory::GuestMemoryMmap;

use super::connection::BUF_ALLOC;
use super::packet::{HEADER_LEN, Header};
use super::relay::Relay;
use crate::vhost::device::{self, Device, Handler};
use crate::vhost::vring::Vring;
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
    const QUEUE_SIZE: usize = 256;
    const PROTOCOL: VhostUserProtocolFeatures = VhostUserProtocolFeatures::MQ
        .union(VhostUserProtocolFeatures::CONFIG)
        .union(VhostUserProtocolFeatures::REPLY_ACK);

    fn config(&self) -> Vec<u8> {
        self.guest_cid.to_le_bytes().into()
    }

    fn wake(&self) -> Option<RawFd> {
        Some(self.relay.as_raw_fd())
    }

    fn work(&mut self, memory: &GuestMemoryMmap, queues: &[Vring]) -> bool {
        // The guest's buffers for our packets, and its packets for us. QEMU keeps the third, the event queue, to
        // itself.
        let [rx, tx] = queues else { return false };
        for _ in 0..ROUNDS {
            self.relay.poll();
            // Asked for before we look, so that no kick is missed in between. An error is the guest's ring out of its
            // memory.
            let _ = (rx.enable_notification(), tx.enable_notification());
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
        Ok(Self { guest_cid, relay, buffer: vec![0; BUF_ALLOC as usize] })
    }

    /// Takes what the guest sent; returns whether there was any.
    fn take_packets(&mut self, memory: &GuestMemoryMmap, tx: &Vring) -> bool {
        let mut queue = tx.get_mut();
        let mut used = false;
        for _ in 0..Self::QUEUE_SIZE {
            if self.relay.is_stalled() {
                break;
            }
            let Some(chain) = queue.get_queue_mut().pop_descriptor_chain(memory) else { break };
            used = true;
            let head = chain.head_index();
            if let Some(header) = self.read_packet(memory, chain) {
                self.relay.receive(&header.0, &self.buffer[..header.1]);
            }
            if queue.add_used(head, 0).is_err() {
                break;
            }
        }
        signal(&mut queue, used);
        used
    }

    /// Reads a packet into the buffer: its header, and the length of its payload. `None` is too short for a header or
    /// outside of the guest's memory.
    fn read_packet(
        &mut self,
        memory: &GuestMemoryMmap,
        chain: DescriptorChain<&GuestMemoryMmap>,
    ) -> Option<(Header, usize)> {
        let mut reader: Reader<'_, ()> = chain.reader(memory).ok()?;
        let mut bytes = [0; HEADER_LEN];
        reader.read_exact(&mut bytes).ok()?;
        let header = Header::parse(&bytes);
        let payload = &mut self.buffer[..(header.len as usize).min(BUF_ALLOC as usize)];
        let mut len = 0;
        while len < payload.len() {
            match reader.read(&mut payload[len..]) {
                Ok(0) | Err(_) => break,
                Ok(count) => len += count,
            }
        }
        Some((header, len))
    }

    /// Gives the guest what there is for it and what it has buffers for; returns whether it got any.
    fn give_packets(&mut self, memory: &GuestMemoryMmap, rx: &Vring) -> bool {
        let mut queue = rx.get_mut();
        let mut used = false;
        for _ in 0..Self::QUEUE_SIZE {
            let Some(chain) = queue.get_queue_mut().pop_descriptor_chain(memory) else { break };
            let head = chain.head_index();
            let Some(len) = self.write_packet(memory, chain) else {
                queue.get_queue_mut().go_to_previous_position();
                break;
            };
            used = true;
            if queue.add_used(head, len).is_err() {
                break;
            }
        }
        signal(&mut queue, used);
        used
    }

    /// Writes the next packet into `chain` and returns its length, 0 if the buffer is no good. `None`: there is no
    /// packet.
    fn write_packet(&mut self, memory: &GuestMemoryMmap, chain: DescriptorChain<&GuestMemoryMmap>) -> Option<u32> {
        let Ok(mut writer): std::result::Result<Writer<'_, ()>, _> = chain.writer(memory) else { return Some(0) };
        let Some(room) = writer.available_bytes().checked_sub(HEADER_LEN) else { return Some(0) };
        let room = room.min(self.buffer.len());
        let header = self.relay.next_packet(&mut self.buffer[..room])?;
        let payload = &self.buffer[..header.len as usize];
        let written = writer.write_all(&header.to_bytes()).and_then(|()| writer.write_all(payload));
        Some(if written.is_ok() { writer.bytes_written() as u32 } else { 0 })
    }
}

/// Tells the guest that buffers were used.
fn signal(queue: &mut VringState, used: bool) {
    // Where the ring is unreadable a superfluous interrupt does no harm.
    if used && queue.needs_notification().unwrap_or(true) {
        // QEMU is gone if nobody takes it.
        let _ = queue.signal_used_queue();
    }
}
