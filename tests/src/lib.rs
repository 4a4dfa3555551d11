//! End-to-end tests of lvh.

mod project;
mod register;
mod report;
mod target;
mod traces;

pub use project::Project;
pub use register::succeeded;
pub use report::Report;
pub use target::{Finished, TestTarget, cargo, empty_directory, lvh};
pub use traces::{Trace, Traces, send_signal};

// Not public API.
#[doc(hidden)]
pub use lvh as __lvh;
