//! Images of registries, layouts and archives, as several commands use them.
//!
//! Blobs lie in the user's data directory while they come, so that the next call goes on with what a cut connection left.

mod catalog;
mod images;
mod kernel;
mod scratch;
mod session;

pub(crate) use catalog::catalog;
pub(crate) use images::{pull_images, push, resolve};
pub(crate) use kernel::pull_kernel;
pub(crate) use scratch::Scratch;
pub(crate) use session::{failed, platform};
