//! End-to-end tests of lvh.

mod disk;
mod kernel_source;
mod project;
mod register;
mod report;
mod target;
mod traces;
mod vms;

pub use disk::busybox_disk;
pub use kernel_source::KernelSource;
pub use project::Project;
pub use register::succeeded;
pub use report::Report;
pub use target::{Finished, TestTarget, cargo, cargo_home, empty_directory, lvh, nextest};
pub use traces::{Trace, Traces, send_signal};
pub use vms::{finished_with_vms, wait_for_vms};

// Not public API.
#[doc(hidden)]
pub use lvh as __lvh;

/// The code of the README and of the guide compiles.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/src/first-test.md")]
    struct FirstTest;
    #[doc = include_str!("../../docs/src/matrix.md")]
    struct Matrix;
    #[doc = include_str!("../../docs/src/attribute.md")]
    struct Attribute;
}
