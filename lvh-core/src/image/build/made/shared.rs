//! Images in the registry that a team shares, each by the digest of all that it is made of.
//!
//! ```text
//! the tag image-ASKED
//! /data/images/NAME.zst             the disk
//! /data/images/.lvh/made            its record
//! /data/images/.lvh/tree.tar.zst    its tree, for images that are made from it
//! ```
//!
//! So it is an image as any that `lvh images push` publishes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::product::Product;
use super::record::Record;
use crate::image::build::places::{Places, text};
use crate::kernel::oci;
use crate::kernel::wanted::Wanted;
use crate::process::Tool;
use crate::store::{Key, Store};
use crate::{Error, ErrorKind, Events, Result};

const MADE: &str = ".lvh/made";
const TREE: &str = ".lvh/tree.tar";

/// An image that the registry may have, or get.
#[derive(Debug)]
pub(crate) struct Shared<'s> {
    pub(crate) places: &'s Places,
    pub(crate) inputs: &'s Key,
    /// Others are made from it.
    pub(crate) has_children: bool,
    pub(crate) store: &'s Store,
    pub(crate) events: &'s Events,
}

impl Shared<'_> {
    /// Takes it from there; says whether it was there.
    pub(crate) fn take(&self) -> Result<bool> {
        let dir = self.new_directory()?;
        let product = self.told(|wanted| oci::look_for_image(wanted, &self.asked()[0], &dir, || self.product(&dir)));
        let taken = product.map(|product| product.publish(self.places)).transpose();
        remove(&dir)?;
        Ok(taken?.is_some())
    }

    /// Lets others have it, if the registry takes what is built.
    pub(crate) fn offer(&self) -> Result<()> {
        let dir = self.places.shared();
        self.told(|wanted| oci::offer_image(wanted, &dir, &self.asked(), || self.pack()));
        remove(&dir)
    }

    fn told<T>(&self, work: impl FnOnce(&Wanted<'_>) -> T) -> T {
        let (name, store, events) = (self.places.name.as_str(), self.store, self.events);
        let subject = format!("image `{name}`");
        work(&Wanted { name, subject: &subject, store, events, newest: false, pin: None, records: false })
    }

    /// What it is known by there; the first is the one that does here.
    fn asked(&self) -> Vec<Key> {
        let with_tree = self.has_children.then(|| Key::of(["image-with-tree", self.inputs.as_str()]));
        with_tree.into_iter().chain([self.inputs.clone()]).collect()
    }

    /// What has come to `dir`, if it is what was asked for.
    fn product(&self, dir: &Path) -> Result<Product> {
        let other = || Error::new(ErrorKind::Artifact, "it is another image than its tag says");
        let record = Record::load(&dir.join(MADE))?.filter(|record| record.inputs == *self.inputs).ok_or_else(other)?;
        let tree = self.has_children.then(|| dir.join(TREE));
        match (only_file(dir)?, tree.as_ref().is_none_or(|tree| tree.is_file())) {
            (Some(disk), true) => Ok(Product { disk, tree, record }),
            _ => Err(other()),
        }
    }

    fn pack(&self) -> Result<()> {
        let (dir, places) = (self.new_directory()?, self.places);
        let own = dir.join(".lvh");
        fs::create_dir(&own).map_err(|error| Error::path("create", &own, error))?;
        let made = dir.join(MADE);
        fs::copy(places.record(), &made).map_err(|error| Error::path("write", &made, error))?;
        compress(&places.image(), &dir.join(&places.name))?;
        if self.has_children { compress(&places.tree_archive(), &dir.join(TREE)) } else { Ok(()) }
    }

    /// Beside the image, for what comes is moved there.
    fn new_directory(&self) -> Result<PathBuf> {
        let dir = self.places.shared();
        // What a killed process has left.
        remove(&dir)?;
        fs::create_dir(&dir).map_err(|error| Error::path("create", &dir, error))?;
        Ok(dir)
    }
}

/// Writes the file `from` to `to.zst`.
fn compress(from: &Path, to: &Path) -> Result<()> {
    let to = format!("{}.zst", text(to)?);
    Tool::new("zstd", "zstd")?.args(["-q", "-T0", "-f", "-o", &to, text(from)?]).run().map(drop)
}

fn only_file(dir: &Path) -> Result<Option<PathBuf>> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| Error::path("read", dir, error))?;
    let mut files = entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file());
    Ok(files.next().filter(|_| files.next().is_none()))
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::path("remove", dir, error)),
        _ => Ok(()),
    }
}
