//! Kernels: from a name to files on disk.
//!
//! 1. [`resolve`] takes a [`KernelSource`] and returns a [`Kernel`]: a Debian package is fetched once and remembered, a
//!    git repository fetched and built once, a build tree or an installed tree read where it lies.
//! 2. [`payload`] takes the uncompressed ELF out of the image, so that QEMU can start it by PVH without the kernel's
//!    own slow decompressor.
//! 3. [`KernelConfig`] and [`ModuleTree`] tell what the kernel offers, and which modules make it so.

pub mod build;
mod config;
pub mod git;
mod headers;
mod image;
pub mod inventory;
mod modules;
pub mod options;
pub(crate) mod pinning;
#[cfg(test)]
mod properties;
mod resolve;
mod source;
mod sources;
mod stamp;
pub(crate) mod wanted;

pub use config::{KernelConfig, Value};
pub use headers::{Headers, headers, headers_blocking};
pub(crate) use image::elf::Elf;
pub use image::payload;
pub use modules::{Availability, LoadableModule, ModuleTree};
pub use resolve::{forget, look_at, resolve, resolve_blocking, update_blocking};
pub(crate) use source::UnknownKernel;
pub use source::{
    DebSource, FileSource, GitSource, Kernel, KernelRelease, KernelSource, OciSource, TarballPlace, TarballSource,
};
#[doc(hidden)]
pub use sources::oci::PROTOCOL as FETCH_PROTOCOL;
pub(crate) use sources::{deb, oci};
pub(crate) use stamp::{digest, stamp};
