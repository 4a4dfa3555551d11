//! Tests in VMs: what a test's VM must be, and VMs that each run tests one after the other.
//!
//! ```text
//! VmKey (instance + lvh.toml) ─► Session ─► VM ─► one guest process per test ─► Ending ─► Outcome
//! ```

mod guest_run;
mod log_dir;
mod output;
mod program;
mod queue;
mod retained;
mod vm_key;
mod vm_session;

pub(crate) use queue::Queue;
pub(crate) use retained::Retained;
pub(crate) use vm_key::VmKey;
pub(crate) use vm_session::{Session, Shared};
