//! The header of a vsock packet (virtio 1.2, 5.10.6).

/// The bytes of a header.
pub(super) const HEADER_LEN: usize = 44;

/// The host's address in every guest.
pub(super) const HOST_CID: u64 = 2;

/// The packet type of `SOCK_STREAM`.
pub(super) const STREAM: u16 = 1;

/// What a packet is for.
pub(super) mod op {
    pub(in crate::vhost::vsock) const REQUEST: u16 = 1;
    pub(in crate::vhost::vsock) const RESPONSE: u16 = 2;
    pub(in crate::vhost::vsock) const RST: u16 = 3;
    pub(in crate::vhost::vsock) const SHUTDOWN: u16 = 4;
    pub(in crate::vhost::vsock) const RW: u16 = 5;
    pub(in crate::vhost::vsock) const CREDIT_UPDATE: u16 = 6;
    pub(in crate::vhost::vsock) const CREDIT_REQUEST: u16 = 7;
}

/// The flags of a `SHUTDOWN`.
pub(super) mod shut {
    /// The sender will receive no more.
    pub(in crate::vhost::vsock) const RCV: u32 = 1;
    /// The sender will send no more.
    pub(in crate::vhost::vsock) const SEND: u32 = 2;
    pub(in crate::vhost::vsock) const BOTH: u32 = RCV | SEND;
}

/// A packet's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Header {
    pub(super) src_cid: u64,
    pub(super) dst_cid: u64,
    pub(super) src_port: u32,
    pub(super) dst_port: u32,
    pub(super) len: u32,
    pub(super) kind: u16,
    pub(super) op: u16,
    pub(super) flags: u32,
    pub(super) buf_alloc: u32,
    pub(super) fwd_cnt: u32,
}

impl Header {
    pub(super) fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let long = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("at + 8 is within the header"));
        let word = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().expect("at + 4 is within the header"));
        let half = |at: usize| u16::from_le_bytes(*bytes[at..].first_chunk().expect("at + 2 is within the header"));
        Self {
            src_cid: long(0),
            dst_cid: long(8),
            src_port: word(16),
            dst_port: word(20),
            len: word(24),
            kind: half(28),
            op: half(30),
            flags: word(32),
            buf_alloc: word(36),
            fwd_cnt: word(40),
        }
    }

    pub(super) fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..8].copy_from_slice(&self.src_cid.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.dst_cid.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.src_port.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.dst_port.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.len.to_le_bytes());
        bytes[28..30].copy_from_slice(&self.kind.to_le_bytes());
        bytes[30..32].copy_from_slice(&self.op.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.flags.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.buf_alloc.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.fwd_cnt.to_le_bytes());
        bytes
    }

    /// The `RST` that answers this packet.
    pub(super) fn refusal(&self) -> Self {
        Self {
            src_cid: self.dst_cid,
            dst_cid: self.src_cid,
            src_port: self.dst_port,
            dst_port: self.src_port,
            kind: self.kind,
            op: op::RST,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_wire() {
        let bytes: [u8; HEADER_LEN] = std::array::from_fn(|i| i as u8);
        let header = Header::parse(&bytes);
        assert_eq!(header.dst_port, u32::from_le_bytes([20, 21, 22, 23]));
        assert_eq!(header.op, u16::from_le_bytes([30, 31]));
        assert_eq!(header.to_bytes(), bytes);
    }
}
