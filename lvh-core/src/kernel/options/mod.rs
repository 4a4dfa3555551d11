//! Options of kernels that are built: what is asked for, and what of it a tree's Kconfig honours.
//!
//! ```text
//! ["--enable", "CONFIG_BPF"] ─► KernelOption ─► .config ─► make olddefconfig ─► .config ─► Outcome of each
//! ```
//!
//! 1. An entry is the argument list of the kernel's `scripts/config`, as `kernels.json` and `lvh.toml` have it; groups
//!    are named lists of them.
//! 2. All are written into a `.config` in one pass; only `make` knows what Kconfig makes of it.
//! 3. Each is then compared with what came out. Why one was not honoured is read from the tree's own Kconfig files.

mod dotconfig;
mod expression;
mod groups;
mod kconfig;
mod lean;
mod option;
mod outcome;

pub(in crate::kernel) use dotconfig::{edit, fragment};
pub use groups::{Base, DEFAULT_GROUPS, GROUP_NAMES, group, group_entries};
pub(in crate::kernel) use kconfig::Kconfig;
pub use option::{KernelOption, Setting};
pub use outcome::{OptionOutcome, Outcome};
pub(in crate::kernel) use outcome::{judge, refuse_lost};
