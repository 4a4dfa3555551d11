//! The guest's side of a VM: what is in its initramfs, and how the host talks to it.

pub(crate) mod client;
pub(crate) mod command;
mod cpio;
mod flow;
pub(crate) mod framing;
pub(crate) mod handshake;
pub(crate) mod initramfs;
pub(crate) mod kernel_event;
pub(crate) mod kernel_log;
pub(crate) mod log_file;
pub(crate) mod packed;
pub(crate) mod process;
#[cfg(test)]
mod properties;
#[expect(dead_code, reason = "the same file is a part of lvh-init, which uses the rest")]
#[expect(unreachable_pub, reason = "lvh-init declares it otherwise")]
pub(crate) mod protocol;
mod routes;
#[expect(unreachable_pub, reason = "lvh-init declares it otherwise")]
pub(crate) mod wire;
pub(crate) mod write_back;
