//! Between the source of a kernel and `lvh.lock`.

use super::KernelSource;
use crate::store::{Pin, Pins};
use crate::{Arch, Error, ErrorKind, Events, Result, Store};

/// What becomes of a mutable source: the file's name for it, and whether it may be resolved anew.
#[derive(Debug)]
pub(super) struct Pinning<'a> {
    name: &'a str,
    arch: Option<&'static str>,
    source: String,
    pins: Option<&'a Pins>,
    locked: bool,
}

impl<'a> Pinning<'a> {
    /// None for what stands for one thing alone, or is this machine's.
    pub(super) fn of(name: &'a str, source: &KernelSource, store: &'a Store) -> Option<Self> {
        let (source, arch) = match source {
            KernelSource::Deb(deb) => {
                let version = deb.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
                (format!("deb {} {}{version}", deb.package, deb.suite), Some(Arch::HOST.debian()))
            }
            KernelSource::Git(git) if git.tree.is_none() => {
                let reference = git.url.reference.as_ref().map(|reference| format!("#{reference}"));
                (format!("git {}{}", git.url.repository, reference.unwrap_or_default()), None)
            }
            KernelSource::Oci(oci) if oci.is_mutable() => (format!("oci {}", oci.image), None),
            _ => return None,
        };
        Some(Self { name, arch, source, pins: store.pins(), locked: store.is_locked() })
    }

    /// Whether there is a file to write to.
    pub(super) fn records(&self) -> bool {
        self.pins.is_some()
    }

    /// What the file says that it is; with `newest`, only where nothing may be resolved anew.
    pub(super) fn pin(&self, newest: bool) -> Result<Option<Vec<String>>> {
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
        match pins.find(self.name, self.arch)? {
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
    pub(super) fn record(&self, resolved: &[String], events: &Events) {
        let Some(pins) = self.pins.filter(|_| !resolved.is_empty()) else { return };
        let (name, arch) = (self.name.to_owned(), self.arch.map(str::to_owned));
        let pin = Pin { name, arch, source: self.source.clone(), resolved: resolved.to_vec() };
        if let Err(error) = pins.set(&pin) {
            events.note(format!("kernel `{}` is not pinned: {}", self.name, error.report()));
        }
    }

    fn refuse(&self, why: &str) -> Error {
        refuse(self.name, why)
    }
}

/// The error for a kernel that would have to be resolved anew.
pub(super) fn refuse(name: &str, why: &str) -> Error {
    let message = format!("kernel `{name}` is locked (`--locked`, LVH_LOCKED=1): {why}");
    Error::new(ErrorKind::Usage, message).with_hint(format!("`lvh update {name}` resolves it, without LVH_LOCKED"))
}
