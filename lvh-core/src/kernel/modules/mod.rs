//! A kernel's modules.

pub(in crate::kernel) mod built;
pub(in crate::kernel) mod depmod;
mod tree;

pub use tree::{Availability, LoadableModule, ModuleTree};
