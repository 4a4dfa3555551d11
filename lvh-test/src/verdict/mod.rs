//! From how a test's process ended to what is told of it.
//!
//! ```text
//! Ending (status, records, output, kernel log) ─► judge ─► Outcome
//!                                                   └─► failure details: what stands around the output of one that failed
//! ```

mod cause;
mod ending;
mod failure_details;
mod hints;
mod judge;
mod kernel_log;
mod panic;
mod refusal;
mod rerun;
mod shorten;

pub(crate) use ending::{Ending, Keeper, Ran, Status};
pub(crate) use judge::judge;
pub(crate) use kernel_log::KernelLog;
pub(crate) use refusal::Refusal;
