//! What this machine has and lacks for lvh, as data: nothing is printed, installed or written here.
//!
//! [`Facts::gather`] looks at the machine; [`judge`] is a pure function from what was found to a list of [`Check`]s.

mod check;
mod facts;
mod install;
mod judge;

pub use check::{Check, State, can_run};
pub use facts::{DataDir, Device, Facts, Qemu};
pub(crate) use facts::{install_qemu, qemu_version};
pub use install::Family;
pub use judge::judge;
