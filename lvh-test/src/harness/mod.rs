//! The harness: what `cargo test` runs on the host.
//!
//! ```text
//! entry ─► args ─► instance (expand) ─► selection ─► listing ─────────────► printer
//!                                                 └► runner ─► host_run ─┐    ▲
//!                                                         └──► vm_run ───┴► reports (outcome::judge)
//!
//! runner, at the end ─► results ─► aftermath: the table (grid), junit, github
//! ```

mod aftermath;
mod appendix;
mod arg_error;
mod args;
mod entry;
mod github;
mod grid;
mod host_run;
mod instance;
mod json;
mod junit;
mod junit_file;
mod kernel_log;
pub(crate) mod lifeline;
mod listing;
mod outcome;
mod printer;
mod reports;
mod results;
mod runner;
mod selection;
mod signal;
mod surroundings;
mod text;
mod vm_run;

pub(crate) use aftermath::{Shown, tell};
pub use entry::main;
pub(crate) use entry::{config, target};
pub(crate) use host_run::HostRun;
pub(crate) use instance::{Instance, expand_case};
pub(crate) use kernel_log::{KernelLog, start_mark};
pub(crate) use outcome::{Ending, Outcome, Ran, Status, Verdict, judge};
pub(crate) use printer::Stream;
pub(crate) use reports::{Event, Job, Reports};
pub(crate) use results::TestResult;
pub(crate) use surroundings::{Surroundings, file_word};
pub(crate) use text::block;
pub(crate) use vm_run::room;
