//! Where one kernel is built: its source, its output directory, and the notes that are kept about both.

use std::fs;
use std::path::{Path, PathBuf};

use super::make::Make;
use super::target::Target;
use super::{BuildSpec, standing};
use crate::kernel::git::{Checkout, OpenTree};
use crate::store::Key;
use crate::store::whole_file::replace;
use crate::{Arch, Error, Events, Result};

/// A tree under lock, and what is to be made of it.
#[derive(Debug)]
pub(in crate::kernel) struct Site<'s> {
    pub(super) open: &'s OpenTree,
    pub(super) spec: &'s BuildSpec,
    pub(super) events: &'s Events,
    pub(in crate::kernel) checkout: Checkout,
    pub(super) target: Target,
    pub(super) out: PathBuf,
}

impl<'s> Site<'s> {
    pub(in crate::kernel) fn new(open: &'s OpenTree, spec: &'s BuildSpec, events: &'s Events) -> Result<Self> {
        let out = open.places.make_own()?.join("build");
        fs::create_dir_all(&out).map_err(|e| Error::path("create", &out, e))?;
        let out = out.canonicalize().map_err(|e| Error::path("find", &out, e))?;
        let target = Target::of(spec.arch);
        Ok(Self { open, spec, events, checkout: open.checkout(events)?, target, out })
    }

    pub(super) fn tree(&self) -> &Path {
        &self.checkout.dir
    }

    pub(super) fn config(&self) -> PathBuf {
        self.out.join(".config")
    }

    /// make, with the output directory.
    pub(super) fn make(&self) -> Make<'_> {
        Make { out: Some(&self.out), ..self.make_in_place() }
    }

    fn make_in_place(&self) -> Make<'_> {
        let (source, date, subject) = (self.tree(), self.checkout.date.as_str(), self.open.subject.as_str());
        let lock = Some(self.open.lock());
        Make { source, out: None, spec: self.spec, date, subject, events: self.events, lock }
    }

    /// Puts what people look for into the source tree.
    pub(in crate::kernel) fn show(&self) -> Result<()> {
        standing::show(self.tree(), &self.out, self.target)
    }

    /// Takes from the source tree what make would stumble over or take for its own.
    pub(super) fn clear_tree(&self) -> Result<()> {
        standing::take_config(self.tree(), &self.config())?;
        standing::hide(self.tree())?;
        if !was_built_in_place(self.tree(), self.spec.arch) {
            return Ok(());
        }
        let tree = self.tree().display();
        self.events.note(format!("{}: `{tree}` was built in its place; lvh now builds outside", self.open.subject));
        let mut log = super::log::BuildLog::begin(self.note_path("configure.log"))?;
        self.make_in_place().run("removing the old build", &["mrproper"], &mut log, None)
    }

    pub(super) fn note_path(&self, name: &str) -> PathBuf {
        self.open.places.own().join(name)
    }

    /// What was noted under `name` last.
    pub(super) fn noted(&self, name: &str) -> String {
        fs::read_to_string(self.note_path(name)).unwrap_or_default()
    }

    pub(super) fn note(&self, name: &str, text: &str) -> Result<()> {
        let path = self.note_path(name);
        replace(&path, &path.with_extension("new"), text).map_err(|e| Error::path("write", &path, e))
    }

    /// The digest of the configuration; that of nothing where there is none.
    pub(super) fn config_digest(&self) -> Result<String> {
        match self.config().exists() {
            true => Key::of_file(&self.config()).map(|key| key.to_string()),
            false => Ok(String::new()),
        }
    }
}

/// What the kernel's Makefile looks for before it takes an output directory ("The source tree is not clean").
pub(in crate::kernel) fn was_built_in_place(tree: &Path, arch: Arch) -> bool {
    let generated = format!("arch/{}/include/generated", Target::of(arch).srcarch());
    ["include/config", &generated].iter().any(|dir| tree.join(dir).is_dir())
}
