//! What there is to do and what came of it, as plain data that serde can carry: a test on one kernel and root, its place in the
//! plan, and its outcome. Whatever runs a job (this host, a VM of it) takes a [`Job`] and gives an [`Outcome`].
//!
//! ```text
//! TestCase (case.rs) ─► Instance ─► Job ─► whoever runs it ─► Outcome ─► TestResult
//! ```

mod instance;
mod keywords;
mod outcome;
mod result;

pub(crate) use instance::{Instance, place};
pub(crate) use outcome::{Outcome, Panic, Verdict, beginning, readable};
#[cfg(test)]
pub(crate) use result::examples;
pub(crate) use result::{Job, TestResult};
