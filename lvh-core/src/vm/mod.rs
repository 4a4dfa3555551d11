//! Virtual machines: from a spec to a running guest to its end.
//!
//! ```text
//!   VmSpec ──plan──► rungs, initramfs ──attempt──► QEMU ──guest──► Vm ──► shutdown
//! ```
//!
//! Where an equal VM was kept at its hello (`kept`), all up to there is read from the store instead.
//!
//! A VM leaves nothing on disk: its sockets, its initramfs and its console are inherited descriptors, so a killed test
//! run leaves nothing either.

pub mod attach;
mod boot;
mod failure;
mod info;
mod plan;
pub(crate) mod qemu;
mod root;
mod running;
mod snapshot;
mod spec;
mod transport;

pub use info::Facts;
pub(crate) use qemu::accel::remembered_kvm;
pub use qemu::command_line::Hypervisor;
pub use qemu::machine::Arch;
pub use running::Vm;
pub use spec::{TCG_FACTOR, VmSpec};
pub use transport::candidates::{Ladders, Rung, Rungs};
