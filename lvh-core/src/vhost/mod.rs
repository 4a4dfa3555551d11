//! Devices that threads of our own process serve to QEMU over vhost-user: no daemon, no root, nothing on disk. Linux
//! only.
//!
//! 1. [`serve_vsock`] and [`serve_fs`] make a [`Device`]: one end of a socket for QEMU, and threads behind the other
//!    end.
//! 2. The launcher gives [`Device::take_socket`] to QEMU as an inherited descriptor (`-chardev socket,id=c0,fd=N`) and
//!    names it in a `vhost-user-vsock-pci,chardev=c0` or `vhost-user-fs-pci,chardev=c0,tag=…` device. Guest memory has
//!    to be shared: `-object memory-backend-memfd,share=on`.
//! 3. When QEMU is gone, however it went, the socket closes and the threads end.
//!
//! The guest is not trusted. Whatever it writes into its queues, memory and descriptors here stay bounded, and the only
//! names it reaches are those that were shared.

mod chain;
mod device;
#[cfg(test)]
mod fake_guest;
mod frontend;
mod fs;
mod memory;
mod message;
mod queue;
#[cfg(test)]
mod tests;
mod vsock;

pub(crate) use device::Device;
pub(crate) use fs::{FsExports, serve_fs};
pub(crate) use vsock::serve_vsock;
