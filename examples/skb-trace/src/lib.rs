//! Which kernel functions an skb passes through; `main.rs` prints it.
//!
//! 1. [`functions`] finds in the kernel's BTF those that take an skb.
//! 2. [`Trace`] attaches BPF programs to them, and tells of each call as an [`Event`].

mod event;
mod function;
mod symbols;
mod trace;

pub use event::Event;
pub use function::{Function, functions};
pub use trace::{Probes, Trace};

/// `skb_trace.bpf.c`, compiled by `build.rs`.
mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/skb_trace.skel.rs"));
}
