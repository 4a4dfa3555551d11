//! The guest's side of a VM: what is in its initramfs, and how the host talks to it.

pub(crate) mod client;
pub(crate) mod initramfs;
pub(crate) mod kernel_log;
pub(crate) mod mirror;
#[cfg(test)]
mod properties;
#[expect(dead_code, reason = "the same file is a part of lvh-init, which uses the rest")]
#[expect(unreachable_pub, reason = "lvh-init declares it otherwise")]
pub(crate) mod protocol;
#[expect(unreachable_pub, reason = "lvh-init declares it otherwise")]
pub(crate) mod wire;
