//! Virtual machines: from a spec to a running guest to its end.
//!
//! ```text
//!   VmSpec ──plan──► transport, initramfs ──launch──► QEMU ──boot──► Vm ──► shutdown
//! ```
//!
//! Where there is a snapshot of an equal VM that is prepared (`snapshot`), all up to there is read from the store instead.
//!
//! A VM leaves nothing on disk: its sockets, its initramfs and its console are inherited descriptors, so a killed test
//! run leaves nothing either.

pub mod attach;
mod attempt;
mod boot;
mod diagnosis;
mod failure;
mod host_changes;
mod info;
mod launch;
mod plan;
mod pulse;
pub(crate) mod qemu;
mod root;
mod running;
mod snapshot;
mod spec;
pub(crate) mod transport;

pub use crate::guest::client::command::Command;
pub use crate::guest::client::process::{Exit, Process, ProcessEvent, Stdin, Stream};
pub use crate::guest::kernel_log::event::{KernelEvent, KernelEvents};
pub use crate::guest::kernel_log::record::KernelRecord;
pub use crate::guest::protocol::{REPORT_FD, STACKS_SIGNAL, TerminalSize};
pub use crate::image::DiskFormat;
pub use info::{StartTimes, VmInfo};
pub(crate) use qemu::accel::{open_kvm, remembered_kvm};
pub use qemu::command_line::Hypervisor;
pub(crate) use qemu::kvm;
pub use root::rootfs::RootFs;
pub use running::Vm;
pub use spec::{TCG_FACTOR, VmSpec};
pub use transport::candidates::{Candidate, Candidates, Transport};
