//! Registries, the proxy, images, and pulls in processes of their own.

mod files;
mod images;
mod process;
mod program;
mod proxy;
mod server;
mod token;

pub(crate) use files::{entries, kernel, noise, read_tree, write};
pub(crate) use images::{Member, Shape, hand_made, tar_of};
pub(crate) use process::{HELPER_SECONDS, Process, unshared};
pub(crate) use program::write_script;
pub(crate) use proxy::{Fault, Proxy};
pub(crate) use server::{Flavour, Registry};
pub(crate) use token::TokenServer;

use std::path::Path;
use std::time::Duration;

use lvh_oci::{
    BlobStore, Content, Image, Options, Pack, Packed, Place, Platform, Pushed, Reference, Result, Source, pack, pull,
    push,
};

/// Options that make failing tests quick.
pub(crate) fn quick() -> Options {
    Options {
        first_pause: Duration::from_millis(20),
        read_timeout: Duration::from_secs(10),
        attempts: 4,
        ..Options::default()
    }
}

/// Options that trust a [`Flavour::Tls`].
pub(crate) fn trusted(registry: &Registry) -> Options {
    Options { plain_loopback: false, ca_files: vec![registry.certificate()], ..quick() }
}

pub(crate) fn amd64() -> Platform {
    "linux/amd64".parse().unwrap()
}

/// Packs the kernel in `dir` as version `version`, for `platform`.
pub(crate) async fn pack_kernel(dir: &Path, version: &str, platform: &str, layout: &Path) -> Packed {
    let contents = vec![Content { from: dir.to_owned(), to: format!("data/kernels/{version}") }];
    let platform = platform.parse().unwrap();
    pack(Pack { contents, platform, annotations: Default::default(), tag: None }, layout).await.unwrap()
}

pub(crate) async fn push_to(packed: &Packed, name: &str, place: Place, options: &Options) -> Result<Pushed> {
    push(packed, &name.parse()?, place, options, &|_| ()).await
}

/// Makes a kernel with an image of `size` incompressible bytes and pushes it as `name`, for amd64.
pub(crate) async fn publish(name: &str, size: usize, options: &Options) -> Packed {
    let dir = tempfile::tempdir().unwrap();
    kernel(&dir.path().join("kernel"), "6.12.9", size);
    let packed = pack_kernel(&dir.path().join("kernel"), "6.12", "amd64", &dir.path().join("layout")).await;
    push_to(&packed, name, Place::Manifest, options).await.unwrap();
    packed
}

pub(crate) async fn pull_from(source: &str, store: &Path, options: &Options) -> Result<Image> {
    let source: Source = source.parse()?;
    pull(&source, amd64(), &BlobStore::open(store)?, options, &|_| ()).await
}

pub(crate) fn reference(name: &str) -> Reference {
    name.parse().unwrap()
}

/// An error, its causes and its hint, as a program would show them.
pub(crate) fn report(error: &lvh_oci::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    format!("{text}\nhint: {}", error.hint().unwrap_or_default())
}
