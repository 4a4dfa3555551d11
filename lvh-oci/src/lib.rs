//! Kernels and images in OCI registries, layout directories and archives: pull, unpack, pack, push.
//!
//! ```no_run
//! # async fn example() -> lvh_oci::Result<()> {
//! use lvh_oci::{BlobStore, Limits, Options, Platform, Source};
//!
//! let source: Source = "quay.io/lvh-images/kernel-images:6.12-main".parse()?;
//! let blobs = BlobStore::open("/var/cache/lvh/oci")?;
//! let image = lvh_oci::pull(&source, Platform::host(), &blobs, &Options::from_env(), &|_| ()).await?;
//! image.unpack("data/kernels/6.12", "6.12".as_ref(), Limits::default()).await?;
//! # Ok(()) }
//! ```
//!
//! # How it works
//! 1. A [`Source`] names a registry's [`Reference`], a layout directory or an archive; an archive is unpacked to a layout first.
//! 2. Of an index, the manifest of the [`Platform`] is chosen.
//! 3. Each blob goes to the [`BlobStore`]: streamed, resumed, its size capped by its descriptor, its SHA-256 checked, fsynced and
//!    renamed, once however many processes ask.
//! 4. [`Image::unpack`] applies the layers from the lowest up and keeps what lies below one directory, in a fresh directory that gets
//!    its name when it is complete. Nothing that an archive names leads out of it.
//! 5. [`pack`] writes a layout, the same bytes for the same files; [`push`] uploads of it what the registry lacks.
//!
//! # Known limits
//! - Digests are SHA-256; layers are tar, gzip or zstd.
//! - A manifest is held in memory by oci-client, which does not bound its size.
//! - Registries cannot replace an index atomically: of two that push platforms to one tag at the same time, one may be lost.
//! - It prints nothing, and installs the process's TLS provider (ring) where there is none.

mod auth;
mod blob;
mod catalog;
mod content;
mod error;
mod layer;
mod local;
mod manifest;
mod names;
mod options;
mod progress;
mod publish;
mod registry;
mod scratch;
mod source;

pub use auth::Credentials;
pub use blob::BlobStore;
pub use catalog::{Catalog, tags};
pub use content::disk_images::{Compressed, PulledImages, pull_images};
pub use content::image::{Image, pull, resolve};
pub use content::kernel::{PulledKernel, pull_kernel};
pub use error::{Error, Result};
pub use layer::{Destination, Limits, Unpacked};
pub use names::digest::Digest;
pub use names::kernel_tag::KernelTag;
pub use names::platform::{Architecture, Platform};
pub use names::reference::Reference;
pub use options::Options;
pub use progress::Progress;
pub use publish::pack::{Content, Pack, Packed, pack};
pub use publish::push::{Place, Pushed, push};
pub use scratch::Scratch;
pub use source::Source;
