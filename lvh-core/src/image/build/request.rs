use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::Store;
use crate::{Error, ErrorKind, Result};

/// What is to be built, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// The data directory: images are in `images/`, and relative paths of actions start here.
    pub data_dir: PathBuf,
    /// The images that are asked for. Default: all.
    pub names: Vec<String>,
    /// Build also what is made from those that are asked for. Default: true.
    pub descendants: bool,
    /// Build also what is there and fits its configuration, but for images that are only parents. Default: false.
    pub force: bool,
    /// Make empty files instead of images. Default: false.
    pub dry_run: bool,
    /// The suite of images without a parent, such as `trixie`. Default: `sid`.
    pub suite: String,
    /// The archive that packages come from. Default: that of this machine's apt.
    pub mirror: Option<String>,
    /// Where images are made. Default: in a user namespace, or where the machine allows none in a VM.
    pub builder: Option<Builder>,
    /// Ends the work early.
    pub stop: Stop,
    /// Has the registry that a team shares, which is asked before an image is built.
    pub(crate) store: Option<Store>,
    /// That gets what was built before, too.
    pub(crate) offers_again: bool,
}

impl Request {
    /// All images of a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            names: Vec::new(),
            descendants: true,
            force: false,
            dry_run: false,
            suite: "sid".to_owned(),
            mirror: None,
            builder: None,
            stop: Stop::default(),
            store: None,
            offers_again: false,
        }
    }
}

/// Where images are made. Both make the same image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    /// In a user namespace of this machine: commands see its kernel.
    Userns,
    /// In a VM: commands see a kernel of their own.
    Vm,
}

/// What became of one image.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// The file was there, and fits.
    pub cached: bool,
    /// Why the file that was there did not do, in a sentence; empty where it did, or where there was none.
    pub deleted: String,
    /// It was asked for, or is made from one that was; else it is only a parent.
    pub asked: bool,
    /// How it went.
    pub result: Result<()>,
}

/// A switch that ends work early, from another thread.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends it.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn flag(&self) -> &Arc<AtomicBool> {
        &self.0
    }

    pub(super) fn check(&self) -> Result<()> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(Error::new(ErrorKind::Artifact, "stopped")),
            false => Ok(()),
        }
    }
}
