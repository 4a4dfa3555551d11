//! The tests of a workspace, an archive or of binaries: what cargo-nextest calls them, and which kernels and images they run on.
//!
//! ```text
//! Source (arguments) ─► cargo-nextest's listing ─► places (each binary tells) ─► Listing
//! ```

mod nextest;
mod place;
mod places;
mod source;
mod test;

pub(crate) use place::Place;
pub(crate) use source::Source;
pub(crate) use test::{Binary, Listing, Test};
