//! Images: disks with a root file system of their own, from a name to a file on disk.
//!
//! 1. [`Config::image`](crate::Config::image) tells where the image of a name comes from: an [`ImageSource`].
//! 2. [`resolve`] turns that into an [`Image`]: a file, its format by what it holds, and its digest.
//! 3. [`VmSpec::image`](crate::vm::VmSpec::image) makes it the root of a VM, which never writes to it.
//!
//! [`build`](mod@build) makes the images that [`images_json`] or `lvh.toml` lists.

pub mod action;
mod boot_sector;
pub mod build;
mod collect;
pub(crate) mod disk;
pub(crate) mod ext4;
mod forest;
pub mod images_json;
pub(crate) mod overlay;
mod resolve;
mod source;

pub use boot_sector::has_boot_sector;
pub use collect::{CollectedImage, collect};
pub use disk::DiskFormat;
pub use resolve::{resolve, resolve_blocking, update_blocking};
pub use source::{BuiltImage, Image, ImageSource};
