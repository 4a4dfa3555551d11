//! From how a test's process ended to what is told of it.
//!
//! ```text
//! Ending (status, records, output, kernel log) ─► judge ─► Outcome
//!                                                   └─► failure details: what helps below a failure's message
//! ```

mod ending;
mod failure_details;
mod judge;
mod kernel_log;
mod panic;

pub(crate) use ending::{Ending, Ran, Status};
pub(crate) use judge::judge;
pub(crate) use kernel_log::KernelLog;
