//! Tests in VMs: which VM a test wants, and one VM that runs tests one after the other.
//!
//! ```text
//! Wish (instance + lvh.toml) ─► Session ─► VM ─► one guest process per test ─► Ending
//! ```

mod guest_run;
mod kept;
mod log_dir;
mod vm_session;
mod wish;

pub(crate) use kept::Kept;
pub(crate) use vm_session::{Session, Shared, in_short};
pub(crate) use wish::Wish;
