//! Programs of the host: each has one owner, is drained, waited for and ended with all that it started.
//!
//! ```text
//!   Tool, Qemu, a test on the host ──Start──► keeper's thread ──► process group of its own
//!                                  ◄──Child── output, end                  dies with us
//! ```
//!
//! Not public API: `lvh-test` runs its tests on the host with this.

mod child;
pub(crate) mod install;
mod keeper;
mod start;
mod tool;

pub use child::Child;
pub use start::Start;
pub(crate) use tool::{Tool, call_failure, ended, find};
