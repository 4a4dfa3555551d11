//! What this machine has and lacks for lvh, as data: nothing is printed, installed or written here.
//!
//! [`Facts::gather`] looks at the machine; [`judge`] is a pure function from what was found to a list of [`Check`]s.
//! [`KernelReport`] is the same for one kernel.

mod check;
mod facts;
mod judge;
mod kernel;
mod needs;
mod trial;

pub use check::{Check, State, can_run};
pub use facts::{DataDir, Device, Facts, Kvm, Qemu, Virtualisation};
pub use judge::judge;
pub use kernel::KernelReport;

pub use crate::process::install::Family;
