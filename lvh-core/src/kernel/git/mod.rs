//! Source trees of kernels from git.
//!
//! ```text
//! D/kernels/git/           one bare repository for all that are not shallow
//! D/kernels/NAME/          its worktree on the branch `lvh-NAME`, or a shallow clone of its own
//! D/kernels/.lvh/NAME/     what else belongs to the kernel: output of its build, log, marks of what is under way
//! D/kernels/.lvh/locks/    lock files, never removed
//! ```
//!
//! All is done by the program `git`, in steps that can each be done again: whatever an earlier call left behind when it
//! was killed, the next one goes on from there.

mod checkouts;
mod command;
mod places;
#[cfg(test)]
mod tests;
mod tree;
mod url;

pub(in crate::kernel) use checkouts::{BUILT, OpenTree};
pub use checkouts::{Checkout, Checkouts, LocalWork};
pub(in crate::kernel) use places::Mark;
pub use url::GitUrl;
