//! `kernels.json`, the file in which the Go tool keeps the kernels of a data directory.
//!
//! It is read as Go's `encoding/json` does: keys in any case, `null` for an empty value, the last of two equal keys. What lvh does
//! not know stays in the file, which is written as Go writes it, so that either tool can go on with it.

mod decode;
mod entry;
mod file;
mod save;
#[cfg(test)]
mod tests;
mod url;

pub use entry::KernelEntry;
pub use file::{KernelsFile, Previous};
