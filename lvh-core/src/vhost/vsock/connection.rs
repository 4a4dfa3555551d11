//! One connection: the host's socket, the guest's credit and ours.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use super::packet::{Header, op, shut};

/// How many bytes of a guest we hold for a host that does not read; Linux uses the same.
pub(super) const BUF_ALLOC: u32 = 256 * 1024;

/// A packet of ours but for the addresses and counters that every packet carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) op: u16,
    pub(super) flags: u32,
    /// How many bytes of the buffer are its payload.
    pub(super) len: u32,
}

impl Outgoing {
    fn of(op: u16) -> Self {
        Self { op, flags: 0, len: 0 }
    }
}

/// The guest broke the rules; the connection is to be reset.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misbehaved;

/// A connection that the guest made.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    /// What the host could not take yet; never more than `BUF_ALLOC`.
    to_host: VecDeque<u8>,
    /// Bytes got from the guest, bytes passed on, and the latter as the guest last heard it. All counters wrap.
    received: u32,
    forwarded: u32,
    told: u32,
    /// Bytes given to the guest, and what it said of its buffer.
    sent: u32,
    guest_alloc: u32,
    guest_forwarded: u32,
    /// The stream may have something, may take something: unset by `WouldBlock`, set by epoll.
    readable: bool,
    writable: bool,
    response_due: bool,
    update_due: bool,
    /// We asked for credit and have heard nothing since.
    asked: bool,
    /// The directions that the guest closed, that the host closed, and the latter as the guest heard it.
    guest_shut: u32,
    host_shut: u32,
    host_shut_told: u32,
}

impl Connection {
    /// A connection that is still to be accepted, to the owner of the other end of `stream`.
    pub(super) fn new(stream: UnixStream, request: &Header) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            to_host: VecDeque::new(),
            received: 0,
            forwarded: 0,
            told: 0,
            sent: 0,
            guest_alloc: request.buf_alloc,
            guest_forwarded: request.fwd_cnt,
            readable: true,
            writable: true,
            response_due: true,
            update_due: false,
            asked: false,
            guest_shut: 0,
            host_shut: 0,
            host_shut_told: 0,
        })
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Bytes passed on to the host, for the header of the next packet.
    pub(super) fn fwd_cnt(&mut self) -> u32 {
        self.told = self.forwarded;
        self.update_due = false;
        self.forwarded
    }

    /// Notes the credit that every packet of the guest carries.
    pub(super) fn heard(&mut self, header: &Header) {
        self.guest_alloc = header.buf_alloc;
        self.guest_forwarded = header.fwd_cnt;
        self.asked = false;
    }

    pub(super) fn credit_requested(&mut self) {
        self.update_due = true;
    }

    /// Takes what the guest sent. It must have had credit for it.
    pub(super) fn take(&mut self, payload: &[u8]) -> Result<(), Misbehaved> {
        let held = self.received.wrapping_sub(self.forwarded) as usize;
        if self.guest_shut & shut::SEND != 0 || held + payload.len() > BUF_ALLOC as usize {
            return Err(Misbehaved);
        }
        self.received = self.received.wrapping_add(payload.len() as u32);
        self.to_host.extend(payload);
        self.flush();
        Ok(())
    }

    /// The guest will not send, not receive, or neither any more.
    pub(super) fn guest_shuts(&mut self, flags: u32) {
        self.guest_shut |= flags & shut::BOTH;
        if flags & shut::RCV != 0 {
            // The host's writes fail from now on. An error means that it has gone already.
            let _ = self.stream.shutdown(Shutdown::Read);
            self.host_shut |= shut::SEND;
        }
        self.flush();
    }

    /// Notes what epoll saw. `hangup` is the host's end closed in both directions.
    pub(super) fn ready(&mut self, readable: bool, writable: bool, hangup: bool) {
        self.readable |= readable || hangup;
        self.writable |= writable || hangup;
        self.flush();
        if hangup {
            self.host_shut |= shut::RCV;
        }
    }

    /// Gives the host what it takes; on the guest's last byte, the end of the stream.
    fn flush(&mut self) {
        while self.writable && !self.to_host.is_empty() {
            match (&self.stream).write(self.to_host.as_slices().0) {
                Ok(count) => {
                    self.to_host.drain(..count);
                    self.forwarded = self.forwarded.wrapping_add(count as u32);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.host_stopped_reading(),
            }
        }
        if self.to_host.is_empty() && self.guest_shut & shut::SEND != 0 {
            // Repeating it is harmless, and an error means that nobody is left to care.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }

    fn host_stopped_reading(&mut self) {
        self.to_host.clear();
        self.forwarded = self.received;
        self.host_shut |= shut::RCV;
    }

    /// The guest closed, or reset, a connection whose last bytes the host has yet to read.
    pub(super) fn is_flushed(&self) -> bool {
        self.to_host.is_empty()
    }

    /// What to tell the guest next. Payload goes into `buffer`, as much as fits.
    pub(super) fn next_packet(&mut self, buffer: &mut [u8]) -> Option<Outgoing> {
        if self.response_due {
            self.response_due = false;
            return Some(Outgoing::of(op::RESPONSE));
        }
        if let Some(packet) = self.next_data(buffer) {
            return Some(packet);
        }
        // Half a buffer is enough to keep a sender going and not worth a packet for every read of the host.
        if self.update_due || self.forwarded.wrapping_sub(self.told) >= BUF_ALLOC / 2 {
            return Some(Outgoing::of(op::CREDIT_UPDATE));
        }
        if self.host_shut != self.host_shut_told {
            self.host_shut_told = self.host_shut;
            return Some(Outgoing { op: op::SHUTDOWN, flags: self.host_shut, len: 0 });
        }
        if self.guest_shut == shut::BOTH && self.is_flushed() {
            return Some(Outgoing::of(op::RST));
        }
        None
    }

    fn next_data(&mut self, buffer: &mut [u8]) -> Option<Outgoing> {
        while self.readable && self.host_shut & shut::SEND == 0 {
            let room = buffer.len().min(self.credit() as usize);
            if room == 0 {
                return self.ask_for_credit();
            }
            match (&self.stream).read(&mut buffer[..room]) {
                Ok(0) => self.host_shut |= shut::SEND,
                Ok(count) => {
                    let len = count as u32;
                    self.sent = self.sent.wrapping_add(len);
                    return Some(Outgoing { op: op::RW, flags: 0, len });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.host_shut = shut::BOTH,
            }
        }
        None
    }

    /// How much more the guest has room for. Its numbers may be lies; they then hurt itself.
    fn credit(&self) -> u32 {
        self.guest_alloc.saturating_sub(self.sent.wrapping_sub(self.guest_forwarded))
    }

    fn ask_for_credit(&mut self) -> Option<Outgoing> {
        let first = self.credit() == 0 && !self.asked;
        self.asked |= first;
        first.then(|| Outgoing::of(op::CREDIT_REQUEST))
    }
}
