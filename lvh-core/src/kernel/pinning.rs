//! Between the source of a kernel or an image and `lvh.lock`.

use super::{KernelSource, OciSource};
use crate::store::{Named, Pin, Pins};
use crate::{Arch, Error, ErrorKind, Events, Result, Store};

/// What becomes of a mutable source: the file's name for it, and whether it may be resolved anew.
#[derive(Debug)]
pub(crate) struct Pinning<'a> {
    what: Named,
    name: &'a str,
    arch: Option<&'static str>,
    source: String,
    pins: Option<&'a Pins>,
    locked: bool,
}

impl<'a> Pinning<'a> {
    /// None for what stands for one thing alone, or is this machine's.
    pub(crate) fn of(name: &'a str, source: &KernelSource, store: &'a Store) -> Option<Self> {
        let (source, arch) = match source {
            KernelSource::Deb(deb) => {
                let version = deb.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
                (format!("deb {} {}{version}", deb.package, deb.suite), Some(Arch::HOST.debian()))
            }
            KernelSource::Git(git) if git.tree.is_none() => {
                let reference = git.url.reference.as_ref().map(|reference| format!("#{reference}"));
                (format!("git {}{}", git.url.repository, reference.unwrap_or_default()), None)
            }
            KernelSource::Oci(oci) => return Self::of_image(Named::Kernel, name, oci, store),
            _ => return None,
        };
        Some(Self { what: Named::Kernel, name, arch, source, pins: store.pins(), locked: store.is_locked() })
    }

    /// As [`Pinning::of`], for what comes out of an OCI image.
    pub(crate) fn of_image(what: Named, name: &'a str, source: &OciSource, store: &'a Store) -> Option<Self> {
        let (pins, locked) = (store.pins(), store.is_locked());
        let source = source.is_mutable().then(|| format!("oci {}", source.image))?;
        Some(Self { what, name, arch: None, source, pins, locked })
    }

    /// Whether there is a file to write to.
    pub(crate) fn records(&self) -> bool {
        self.pins.is_some()
    }

    /// What the file says that it is; with `newest`, only where nothing may be resolved anew.
    pub(crate) fn pin(&self, newest: bool) -> Result<Option<Vec<String>>> {
        if newest && !self.locked {
            return Ok(None);
        }
        let Some(pins) = self.pins else {
            return if self.locked {
                Err(self.refuse("no `lvh.toml` is here, nor a `lvh.lock` beside it"))
            } else {
                Ok(None)
            };
        };
        match pins.find(self.what, self.name, self.arch)? {
            Some(pin) if pin.source == self.source => Ok(Some(pin.resolved)),
            _ if !self.locked => Ok(None),
            Some(pin) => {
                let (path, now) = (pins.path().display(), &self.source);
                Err(self.refuse(&format!("`{path}` has it from `{}`, but it comes from `{now}`", pin.source)))
            }
            None => Err(self.refuse(&format!("it is not in `{}`", pins.path().display()))),
        }
    }

    /// Writes down what it was resolved to. Where that cannot be, the kernel is there all the same.
    pub(crate) fn record(&self, resolved: &[String], events: &Events) {
        let Some(pins) = self.pins.filter(|_| !resolved.is_empty()) else { return };
        let (name, arch) = (self.name.to_owned(), self.arch.map(str::to_owned));
        let pin = Pin { what: self.what, name, arch, source: self.source.clone(), resolved: resolved.to_vec() };
        if let Err(error) = pins.set(&pin) {
            events.note(format!("{} `{}` is not pinned: {}", self.what.as_str(), self.name, error.report()));
        }
    }

    fn refuse(&self, why: &str) -> Error {
        refuse(self.what, self.name, why)
    }
}

/// The error for what would have to be resolved anew.
pub(super) fn refuse(what: Named, name: &str, why: &str) -> Error {
    let message = format!("{} `{name}` is locked (`--locked`, LVH_LOCKED=1): {why}", what.as_str());
    Error::new(ErrorKind::Usage, message).with_hint(format!("`lvh update {name}` resolves it, without LVH_LOCKED"))
}
