//! Asking the kernel for all that it has of a kind: netlink(7), rtnetlink(7).

use std::ffi::c_int;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};

unsafe extern "C" {
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
}

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
    const AF_NETLINK: c_int = 16;
    // SOCK_RAW, SOCK_CLOEXEC.
    const KIND: c_int = 3 | 0o2_000_000;
    // SAFETY: no memory is involved.
    let socket = unsafe { socket(AF_NETLINK, KIND, protocol) };
    if socket < 0 {
        return Vec::new();
    }
    // SAFETY: the kernel just gave us this descriptor.
    let mut socket = File::from(unsafe { OwnedFd::from_raw_fd(socket) });
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
