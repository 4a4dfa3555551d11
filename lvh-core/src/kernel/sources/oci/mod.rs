//! Kernels and disks out of OCI images: fetched once, by the `lvh` command, and remembered.
//!
//! What is fetched is an entry of the store, by the digest of the image; a tag is remembered as the digest that it named.

mod cache;
mod fetcher;
mod image;

pub(super) use cache::{Sought, look, offer};
pub(crate) use cache::{look_for_image, offer_image};
pub use fetcher::PROTOCOL;
pub(crate) use fetcher::What;
pub(in crate::kernel) use image::question;
pub(crate) use image::{pin, resolve};
