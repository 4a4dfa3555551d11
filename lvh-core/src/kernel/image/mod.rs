//! What is in a kernel's boot image.

pub(in crate::kernel) mod bzimage;
pub(in crate::kernel) mod compression;
pub(crate) mod elf;
pub mod payload;
pub(in crate::kernel) mod search;
