//! What is known of a call.

use std::fmt;

use crate::skeleton::types;
use crate::symbols::Symbols;

// SAFETY: it has integers alone, so any bytes are one.
unsafe impl plain::Plain for types::event {}

/// A function was called with an skb.
#[derive(Clone, Debug)]
pub struct Event {
    /// The skb's address.
    pub skb: u64,
    /// The CPU.
    pub cpu: u32,
    /// The inode number of the network namespace's file; 0 if the skb has neither device nor socket.
    pub netns: u32,
    /// The device's name; empty if it has none yet.
    pub device: String,
    /// The protocol, as `linux/if_ether.h` has it; 0 if it is not known yet.
    pub protocol: u16,
    /// The bytes of the packet, from the header of the layer at hand on.
    pub len: u32,
    /// The function.
    pub function: String,
}

impl Event {
    /// The names of the columns of an event on display.
    pub const HEADER: &str = "SKB                CPU NETNS      DEVICE          PROTO  LEN   FUNCTION";

    /// Reads what a BPF program has sent.
    pub(crate) fn decode(bytes: &[u8], symbols: &Symbols) -> Self {
        let event: &types::event = plain::from_bytes(bytes).expect("the BPF programs send whole events");
        let device = event.device.split(|byte| *byte == 0).next().unwrap_or_default();
        Self {
            skb: event.skb,
            cpu: event.cpu,
            netns: event.netns,
            device: String::from_utf8_lossy(device).into_owned(),
            protocol: u16::from_be(event.protocol),
            len: event.len,
            function: symbols.function(event.ip).unwrap_or("?").to_owned(),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { skb, cpu, netns, device, protocol, len, function } = self;
        write!(f, "{skb:#018x} {cpu:<3} {netns:<10} {device:<15} {protocol:#06x} {len:<5} {function}")
    }
}
