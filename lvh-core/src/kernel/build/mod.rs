//! Kernels built from a source tree of ours.
//!
//! ```text
//! D/kernels/NAME/               the source: make writes nothing here
//! D/kernels/.lvh/NAME/build/    make's output directory (O=)
//! D/kernels/.lvh/NAME/build.log all that make said
//! ```
//!
//! 1. [`configure`] makes the `.config`, and judges what became of each option.
//! 2. [`build`] runs `make` where anything changed: the commit or what is not committed, the configuration, the compiler
//!    or make's arguments.
//! 3. What people look for in a tree that was built in place stands there afterwards: see `standing.rs`.
//!
//! A build that was broken off is gone on with. make is asked to end, and removes half files; where it was killed, the
//! next build looks for them itself.

mod configure;
mod kernel_build;
mod leftovers;
mod log;
mod make;
mod site;
mod spec;
mod standing;
mod target;
#[cfg(test)]
mod tests;
mod tools;

pub use configure::{Configured, configure, configure_in_place};
pub use kernel_build::{Built, Products, build};
pub(in crate::kernel) use site::{Site, was_built_in_place};
pub use spec::BuildSpec;
pub use tools::{check_for_configuring, check_tools};
