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

mod accel;
pub mod attach;
mod attempt;
mod console;
mod device;
mod drivers;
mod facts;
mod failure;
mod gdb;
mod initrd;
mod kept;
mod ladder;
mod link;
mod log_file;
mod machine;
mod plan;
mod process;
mod qemu;
mod qmp;
mod running;
mod served;
mod shares;
mod spec;
mod state;
mod write_back;

pub(crate) use accel::remembered_kvm;
pub use facts::Facts;
pub use ladder::{Ladders, Rung, Rungs};
pub use log_file::LogFile;
pub use machine::Arch;
pub use qemu::Hypervisor;
pub use running::Vm;
pub use spec::{TCG_FACTOR, VmSpec};
