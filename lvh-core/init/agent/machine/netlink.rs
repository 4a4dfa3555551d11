//! Asking the kernel for all that it has of a kind: netlink(7), rtnetlink(7).

use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

unsafe extern "C" {
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn bind(socket: c_int, address: *const c_void, len: c_uint) -> c_int;
}

const AF_NETLINK: c_int = 16;
const SOCK_NONBLOCK: c_int = 0o4000;
const ENOBUFS: i32 = 105;

pub const NETLINK_ROUTE: c_int = 0;
pub const NETLINK_NETFILTER: c_int = 12;

/// A message: what its fixed part holds, and its attributes.
pub struct Message {
    payload: Vec<u8>,
    fixed: usize,
}

impl Message {
    /// The byte at `offset` of the fixed part.
    pub fn byte(&self, offset: usize) -> u8 {
        self.payload.get(offset).copied().unwrap_or_default()
    }

    /// The number at `offset` of the fixed part.
    pub fn number(&self, offset: usize) -> u32 {
        number(self.payload.get(offset..).unwrap_or_default())
    }

    /// The attribute of this type.
    pub fn attribute(&self, wanted: u16) -> Option<&[u8]> {
        let mut rest = self.payload.get(self.fixed..)?;
        while let Some((head, _)) = rest.split_at_checked(4) {
            let (len, kind) = (u16::from_ne_bytes([head[0], head[1]]), u16::from_ne_bytes([head[2], head[3]]));
            let value = rest.get(4..usize::from(len))?;
            // The upper two bits are flags: NLA_TYPE_MASK.
            if kind & 0x3fff == wanted {
                return Some(value);
            }
            rest = rest.get(usize::from(len).next_multiple_of(4)..)?;
        }
        None
    }

    /// A number as an attribute.
    pub fn attribute_number(&self, wanted: u16) -> Option<u32> {
        self.attribute(wanted).map(number)
    }

    /// A text as an attribute.
    pub fn attribute_text(&self, wanted: u16) -> String {
        let value = self.attribute(wanted).unwrap_or_default();
        String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into_owned()
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.get(..4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// All messages that answer a request of this kind, whose fixed part has `fixed` bytes, all zero; none where the kernel does
/// not know it.
pub fn dump(protocol: c_int, kind: u16, fixed: usize) -> Vec<Message> {
    let Some(mut socket) = open(protocol, 0) else { return Vec::new() };
    let mut messages = Vec::new();
    if socket.write_all(&request(kind, fixed)).is_ok() {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(len @ 1..) = socket.read(&mut buffer) {
            if take_all(&buffer[..len], fixed, &mut messages) {
                break;
            }
        }
    }
    messages
}

/// Hears whatever changes in the network.
pub struct Listener {
    socket: Option<File>,
    heard: Cell<bool>,
}

impl Listener {
    /// Listens from now on.
    pub fn new() -> Self {
        // RTMGRP_LINK, _TC, _IPV4_IFADDR, _IPV4_ROUTE, _IPV4_RULE, _IPV6_IFADDR, _IPV6_ROUTE and RTNLGRP_IPV6_RULE.
        const GROUPS: u32 = 0x1 | 0x8 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18;
        // struct sockaddr_nl: family and padding, port, groups.
        let address = [AF_NETLINK as u32, 0, GROUPS];
        let socket = open(NETLINK_ROUTE, SOCK_NONBLOCK).filter(|socket| {
            // SAFETY: pointer and size of one address that outlives the call.
            unsafe { bind(socket.as_raw_fd(), address.as_ptr().cast(), size_of_val(&address) as c_uint) == 0 }
        });
        Self { socket, heard: Cell::new(false) }
    }

    /// Whether it heard anything since [`Self::forget`]. Where it cannot listen, something was.
    pub fn heard(&self) -> bool {
        let Some(mut socket) = self.socket.as_ref() else { return true };
        let mut buffer = [0; 4096];
        loop {
            match socket.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.heard.get(),
                Ok(1..) => {}
                // It heard more than it could keep.
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => {}
                _ => return true,
            }
            self.heard.set(true);
        }
    }

    /// What it heard has come to nothing.
    pub fn forget(&self) {
        self.heard.set(false);
    }
}

fn open(protocol: c_int, flags: c_int) -> Option<File> {
    const SOCK_RAW: c_int = 3;
    const SOCK_CLOEXEC: c_int = 0o2_000_000;
    // SAFETY: no memory is involved.
    let socket = unsafe { socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, protocol) };
    // SAFETY: the kernel just gave us this descriptor.
    (socket >= 0).then(|| File::from(unsafe { OwnedFd::from_raw_fd(socket) }))
}

/// struct nlmsghdr: length, type, flags, sequence, port; then the fixed part.
fn request(kind: u16, fixed: usize) -> Vec<u8> {
    const NLM_F_REQUEST_DUMP: u16 = 0x301;
    let mut request = ((16 + fixed) as u32).to_ne_bytes().to_vec();
    request.extend(kind.to_ne_bytes());
    request.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    request.resize(16 + fixed, 0);
    request
}

/// Whether that was the last.
fn take_all(mut bytes: &[u8], fixed: usize, messages: &mut Vec<Message>) -> bool {
    const NLMSG_ERROR: u16 = 2;
    const NLMSG_DONE: u16 = 3;
    while let Some((head, _)) = bytes.split_at_checked(16) {
        let (len, kind) = (number(head) as usize, u16::from_ne_bytes([head[4], head[5]]));
        let Some(payload) = bytes.get(16..len) else { return true };
        if kind == NLMSG_ERROR || kind == NLMSG_DONE {
            return true;
        }
        messages.push(Message { payload: payload.to_vec(), fixed });
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}
