//! What a guest boots from.

mod base;
pub(crate) mod cpio;
pub(crate) mod packed;

pub(crate) use base::{Init, base, memory_file};
