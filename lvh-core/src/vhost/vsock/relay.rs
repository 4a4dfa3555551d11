//! All connections of one guest, without the queues: packets in, packets out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::io;
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::connection::{BUF_ALLOC, Connection};
use super::packet::{HOST_CID, Header, STREAM, op};

/// How many connections a guest may have, closed ones whose last bytes the host has yet to read included. With
/// `BUF_ALLOC` it bounds our memory.
pub(super) const MAX_CONNECTIONS: usize = 128;

/// How many `RST`s may wait for the guest's buffers before we stop to listen to it.
pub(super) const MAX_REFUSALS: usize = 256;

/// Asks the host for its end of a connection to a port.
pub(super) type Connect = Box<dyn Fn(u32) -> Option<UnixStream> + Send>;

/// The ports of a connection: the guest's, the host's.
type Ports = (u32, u32);

/// The connections of a guest.
pub(super) struct Relay {
    guest_cid: u64,
    connect: Connect,
    epoll: OwnedFd,
    /// Numbers are never used twice, so a late event cannot hit the wrong connection. Those without ports are known to
    /// us alone: the guest is done with them, the host has yet to read their last bytes.
    connections: BTreeMap<u64, (Option<Ports>, Connection)>,
    /// The connections that the guest knows.
    open: HashMap<Ports, u64>,
    refusals: VecDeque<Header>,
    next_number: u64,
    /// The connection that was last allowed to send.
    last_served: u64,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("guest_cid", &self.guest_cid).field("open", &self.open).finish_non_exhaustive()
    }
}

impl Relay {
    pub(super) fn new(guest_cid: u64, connect: Connect) -> io::Result<Self> {
        Ok(Self {
            guest_cid,
            connect,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            connections: BTreeMap::new(),
            open: HashMap::new(),
            refusals: VecDeque::new(),
            next_number: 1,
            last_served: 0,
        })
    }

    /// Readable whenever [`Relay::poll`] has something to do.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Passes on what the hosts' sockets got ready for.
    pub(super) fn poll(&mut self) {
        let mut events = Vec::with_capacity(64);
        // An error can only be a signal; what was ready stays ready.
        let _ = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&Timespec::default()));
        for Event { flags, data } in events {
            if let Some((_, connection)) = self.connections.get_mut(&data.u64()) {
                connection.ready(
                    flags.intersects(EventFlags::IN | EventFlags::RDHUP),
                    flags.contains(EventFlags::OUT),
                    flags.intersects(EventFlags::HUP | EventFlags::ERR),
                );
                self.drop_if_done(data.u64());
            }
        }
    }

    /// The guest leaves so many answers unread that it has to wait.
    pub(super) fn is_stalled(&self) -> bool {
        self.refusals.len() >= MAX_REFUSALS
    }

    /// Takes a packet of the guest; `payload` is what its descriptors held beside the header.
    pub(super) fn receive(&mut self, header: &Header, payload: &[u8]) {
        if header.src_cid != self.guest_cid || header.dst_cid != HOST_CID {
            return;
        }
        let ports = (header.src_port, header.dst_port);
        if header.kind != STREAM {
            return self.refuse(header);
        }
        match (header.op, self.open.get(&ports).copied()) {
            (op::REQUEST, known) => {
                // The guest forgot the old one, by a reboot perhaps.
                known.into_iter().for_each(|number| self.forget(number));
                self.accept(header);
            }
            (op::RST, Some(number)) => self.forget(number),
            (op::RST, None) => {}
            (_, Some(number)) => self.receive_on(number, header, payload),
            (_, None) => self.refuse(header),
        }
    }

    fn receive_on(&mut self, number: u64, header: &Header, payload: &[u8]) {
        let Some((_, connection)) = self.connections.get_mut(&number) else { return };
        connection.heard(header);
        let taken = match header.op {
            op::RW if header.len as usize == payload.len() => connection.take(payload).is_ok(),
            op::SHUTDOWN => {
                connection.guest_shuts(header.flags);
                true
            }
            op::CREDIT_UPDATE => true,
            op::CREDIT_REQUEST => {
                connection.credit_requested();
                true
            }
            _ => false,
        };
        if !taken {
            self.forget(number);
            self.refuse(header);
        }
    }

    fn accept(&mut self, request: &Header) {
        let connected = self.connections.len() < MAX_CONNECTIONS && self.try_accept(request).is_some();
        if !connected {
            self.refuse(request);
        }
    }

    fn try_accept(&mut self, request: &Header) -> Option<()> {
        let stream = (self.connect)(request.dst_port)?;
        let connection = Connection::new(stream, request).ok()?;
        let number = self.next_number;
        // Edge triggered: a host that is ready while the guest is not must not wake us again and again.
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, connection.stream(), EventData::new_u64(number), interest).ok()?;
        self.next_number += 1;
        let ports = (request.src_port, request.dst_port);
        self.connections.insert(number, (Some(ports), connection));
        self.open.insert(ports, number);
        Some(())
    }

    fn refuse(&mut self, header: &Header) {
        if self.refusals.len() < MAX_REFUSALS {
            self.refusals.push_back(header.refusal());
        }
    }

    /// The guest knows this connection no more. What it sent before still reaches the host.
    fn forget(&mut self, number: u64) {
        let known = self.connections.get_mut(&number).and_then(|(ports, _)| ports.take());
        if let Some(ports) = known {
            self.open.remove(&ports);
        }
        self.drop_if_done(number);
    }

    fn drop_if_done(&mut self, number: u64) {
        let is_done = |(ports, connection): &(Option<Ports>, Connection)| ports.is_none() && connection.is_flushed();
        if self.connections.get(&number).is_some_and(is_done) {
            // Closing the socket also takes it out of the epoll set.
            self.connections.remove(&number);
        }
    }

    /// The next packet for the guest: its header, and `header.len` bytes of payload in `buffer`. Connections take
    /// turns.
    pub(super) fn next_packet(&mut self, buffer: &mut [u8]) -> Option<Header> {
        if let Some(refusal) = self.refusals.pop_front() {
            return Some(refusal);
        }
        for _ in 0..self.open.len() {
            let number = self.next_turn()?;
            self.last_served = number;
            if let Some(header) = self.packet_of(number, buffer) {
                return Some(header);
            }
        }
        None
    }

    /// The open connection after the one last served.
    fn next_turn(&self) -> Option<u64> {
        let after = (Bound::Excluded(self.last_served), Bound::Unbounded);
        let later = self.connections.range(after);
        let mut in_turn = later.chain(&self.connections).filter(|(_, (ports, _))| ports.is_some());
        in_turn.next().map(|(&number, _)| number)
    }

    fn packet_of(&mut self, number: u64, buffer: &mut [u8]) -> Option<Header> {
        let (ports, connection) = self.connections.get_mut(&number)?;
        let (guest_port, host_port) = (*ports)?;
        let packet = connection.next_packet(buffer)?;
        let header = Header {
            src_cid: HOST_CID,
            dst_cid: self.guest_cid,
            src_port: host_port,
            dst_port: guest_port,
            len: packet.len,
            kind: STREAM,
            op: packet.op,
            flags: packet.flags,
            buf_alloc: BUF_ALLOC,
            fwd_cnt: connection.fwd_cnt(),
        };
        if packet.op == op::RST {
            self.forget(number);
        }
        Some(header)
    }

    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.connections.len()
    }
}
