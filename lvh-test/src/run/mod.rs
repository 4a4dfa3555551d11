//! A run: what `cargo test` does on the host where the test binary's `main` is ours.
//!
//! ```text
//! entry ─► Args ─► plan ─► selection ─► listing ──────────────────► printer
//!                               └► runner ─► host_run ─┐              ▲
//!                                      └───► vm_run ───┴► TestEvents ─► monitor (Outcome of each test)
//!
//! runner, at the end ─► TestResults ─► post-run reports: the table, JUnit, GitHub
//! ```

mod entry;
mod host_run;
mod lifeline;
mod monitor;
mod plan;
mod runner;
mod vm_run;

pub use entry::main;
pub(crate) use host_run::HostRun;
pub(crate) use lifeline::end_with_cargo;
pub(crate) use plan::{Target, expand, expand_case};
