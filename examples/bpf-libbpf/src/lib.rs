//! Connections to one port, refused by a BPF security module; loaded with libbpf-rs and a skeleton.

use std::mem::MaybeUninit;

use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{OpenObject, Result};

pub use skeleton::{GuardSkel, types};

/// `guard.bpf.c`, compiled by `build.rs`.
mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/guard.skel.rs"));
}

// SAFETY: it has integers alone, so any bytes are one.
unsafe impl plain::Plain for types::refusal {}

/// Refuses connections to the port, and reports them in the map `refusals`, until the result is dropped.
///
/// # Errors
/// We are not root, or the kernel does not take the program.
pub fn guard(port: u16, storage: &mut MaybeUninit<OpenObject>) -> Result<GuardSkel<'_>> {
    let mut open = skeleton::GuardSkelBuilder::default().open(storage)?;
    open.maps.rodata_data.as_deref_mut().expect("`rodata` is mapped").port = port;
    let mut guard = open.load()?;
    guard.attach()?;
    Ok(guard)
}
