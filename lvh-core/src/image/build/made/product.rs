//! An image that was made, or came from elsewhere, and has its place yet to come.

use std::fs::{self, File};
use std::path::PathBuf;

use super::record::Record;
use crate::image::build::places::Places;
use crate::{Error, Result};

/// Files on the file system of the place.
#[derive(Debug)]
pub(crate) struct Product {
    pub(crate) disk: PathBuf,
    /// For images that are made from it.
    pub(crate) tree: Option<PathBuf>,
    pub(crate) record: Record,
}

impl Product {
    /// Gives the disk its name, once all of it is on the disk of the host.
    pub(crate) fn publish(&self, places: &Places) -> Result<()> {
        let (image, archive) = (places.image(), places.tree_archive());
        // Who is killed in the midst of it leaves an image that is built again.
        Record::unfinished().save(&places.record())?;
        let publish = || {
            File::open(&self.disk)?.sync_all()?;
            // What fits the old image must not stand beside the new one.
            if archive.exists() {
                fs::remove_file(&archive)?;
            }
            fs::rename(&self.disk, &image)?;
            self.tree.as_ref().map_or(Ok(()), |tree| fs::rename(tree, &archive))
        };
        publish().map_err(|error| Error::path("store", &image, error))?;
        self.record.save(&places.record())
    }
}
