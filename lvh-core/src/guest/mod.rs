//! The guest's side of a VM: what is in its initramfs, and how the host talks to it.

pub mod client;
mod cpio;
pub(crate) mod initramfs;
pub mod kernel_event;
pub mod kernel_log;
pub(crate) mod log_file;
pub(crate) mod packed;
#[cfg(test)]
mod properties;
pub mod protocol;
pub mod wire;
pub(crate) mod write_back;
