//! What QEMU says to a device: the messages of vhost-user (QEMU's `docs/interop/vhost-user.rst`), with their descriptors.

use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use super::memory::{MAX_REGIONS, Place, invalid};

/// The numbers of the requests that we answer.
pub(super) mod request {
    pub(in crate::vhost) const GET_FEATURES: u32 = 1;
    pub(in crate::vhost) const SET_FEATURES: u32 = 2;
    pub(in crate::vhost) const SET_OWNER: u32 = 3;
    pub(in crate::vhost) const RESET_OWNER: u32 = 4;
    pub(in crate::vhost) const SET_MEM_TABLE: u32 = 5;
    pub(in crate::vhost) const SET_VRING_NUM: u32 = 8;
    pub(in crate::vhost) const SET_VRING_ADDR: u32 = 9;
    pub(in crate::vhost) const SET_VRING_BASE: u32 = 10;
    pub(in crate::vhost) const GET_VRING_BASE: u32 = 11;
    pub(in crate::vhost) const SET_VRING_KICK: u32 = 12;
    pub(in crate::vhost) const SET_VRING_CALL: u32 = 13;
    pub(in crate::vhost) const SET_VRING_ERR: u32 = 14;
    pub(in crate::vhost) const GET_PROTOCOL_FEATURES: u32 = 15;
    pub(in crate::vhost) const SET_PROTOCOL_FEATURES: u32 = 16;
    pub(in crate::vhost) const GET_QUEUE_NUM: u32 = 17;
    pub(in crate::vhost) const SET_VRING_ENABLE: u32 = 18;
    pub(in crate::vhost) const GET_CONFIG: u32 = 24;
}

/// The bytes of a header: request, flags, length of what follows.
pub(super) const HEADER_LEN: usize = 12;
/// The longest message: a table of memory, or a device's configuration.
const MAX_BODY: usize = 4096;

const VERSION: u32 = 1;
const VERSION_MASK: u32 = 3;
const REPLY: u32 = 1 << 2;
const NEED_REPLY: u32 = 1 << 3;

/// A message of QEMU.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) request: u32,
    /// QEMU waits to hear whether it was done, if that was agreed on.
    pub(super) wants_ack: bool,
    body: Vec<u8>,
    pub(super) files: Vec<OwnedFd>,
}

impl Message {
    /// Receives the next message. `None`: QEMU is gone.
    pub(super) fn receive(mut socket: &UnixStream) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER_LEN];
        let (count, files) = receive_with_files(socket, &mut header)?;
        let whole = count > 0 && until_the_end(socket.read_exact(&mut header[count..]))?;
        if !whole {
            return Ok(None);
        }
        let [request, flags, length] =
            [0, 4, 8].map(|at| u32::from_ne_bytes(*header[at..].first_chunk().expect("at + 4 is within the header")));
        if flags & VERSION_MASK != VERSION || length as usize > MAX_BODY {
            return Err(invalid("a message of another version, or too long"));
        }
        let mut body = vec![0; length as usize];
        let is_there = until_the_end(socket.read_exact(&mut body))?;
        Ok(is_there.then_some(Self { request, wants_ack: flags & NEED_REPLY != 0, body, files }))
    }

    /// The body as numbers of four bytes.
    pub(super) fn words<const N: usize>(&self) -> io::Result<[u32; N]> {
        let words = self.body.as_chunks().0.first_chunk::<N>().ok_or_else(short)?;
        Ok(words.map(u32::from_ne_bytes))
    }

    /// The body, from its byte `at` on, as numbers of eight bytes.
    pub(super) fn longs<const N: usize>(&self, at: usize) -> io::Result<[u64; N]> {
        let rest = self.body.get(at..).ok_or_else(short)?;
        let longs = rest.as_chunks().0.first_chunk::<N>().ok_or_else(short)?;
        Ok(longs.map(u64::from_ne_bytes))
    }

    /// The regions of a table of memory.
    pub(super) fn places(&self) -> io::Result<Vec<Place>> {
        let [count] = self.words()?;
        if count as usize > MAX_REGIONS {
            return Err(invalid("a table of more than eight regions of memory"));
        }
        let place = |number| {
            let [guest, size, user, offset] = self.longs(8 + 32 * number)?;
            Ok(Place { guest, size, user, offset })
        };
        (0..count as usize).map(place).collect()
    }

    /// A queue's number, and the descriptor for it, if there is one.
    pub(super) fn queue_file(&mut self) -> io::Result<(usize, Option<OwnedFd>)> {
        let [value] = self.longs(0)?;
        Ok(((value & 0xff) as usize, self.files.pop()))
    }

    /// Sends the answer.
    pub(super) fn reply(&self, mut socket: &UnixStream, body: &[u8]) -> io::Result<()> {
        let header = [self.request, VERSION | REPLY, body.len() as u32].map(u32::to_ne_bytes);
        socket.write_all(&[header.as_flattened(), body].concat())
    }
}

fn short() -> io::Error {
    invalid("a message that is too short")
}

/// Whether it was read; not where QEMU went away meanwhile.
fn until_the_end(read: io::Result<()>) -> io::Result<bool> {
    match read {
        Ok(()) => Ok(true),
        Err(e) if [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset].contains(&e.kind()) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Reads some bytes, and the descriptors that come with the first of them.
fn receive_with_files(socket: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = nix::cmsg_space!([RawFd; MAX_REGIONS]);
    let (mut bytes, flags) = ([IoSliceMut::new(bytes)], MsgFlags::MSG_CMSG_CLOEXEC);
    let received = match recvmsg::<()>(socket.as_raw_fd(), &mut bytes, Some(&mut control), flags) {
        Err(Errno::ECONNRESET) => return Ok((0, Vec::new())),
        received => received?,
    };
    let files = received.cmsgs()?.filter_map(|message| match message {
        ControlMessageOwned::ScmRights(files) => Some(files),
        _ => None,
    });
    // SAFETY: the kernel has just made these descriptors for us, and nobody else knows of them.
    let files = files.flatten().map(|file| unsafe { OwnedFd::from_raw_fd(file) }).collect();
    Ok((received.bytes, files))
}
