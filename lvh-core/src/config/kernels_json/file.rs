use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::decode::{self, Decoded};
use super::{KernelEntry, entry, save};
use crate::json::{Value, go};
use crate::kernel::build::BuildSpec;
use crate::kernel::options::KernelOption;
use crate::store::Lock;
use crate::{Arch, Error, ErrorKind, Events, Result};

/// What becomes of the file that a new one replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Previous {
    /// It is gone.
    Replaced,
    /// It stays beside the new one, with the date in its name: `kernels.json.20260131.235959000000`.
    Renamed,
}

/// A `kernels.json`.
#[derive(Debug)]
pub struct KernelsFile {
    path: PathBuf,
    /// All that the file holds, known to us or not.
    pub(super) document: Value,
    pub(super) decoded: Decoded,
}

impl KernelsFile {
    /// Its name in the data directory.
    pub const NAME: &str = "kernels.json";

    /// Reads the file of the data directory.
    ///
    /// # Errors
    ///
    /// Where there is none, or it is not what it should be; the message names the place.
    pub fn load(data_dir: &Path) -> Result<Self> {
        Self::find(data_dir)?.ok_or_else(|| missing(data_dir))
    }

    /// As [`KernelsFile::load`]: none where there is none.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, or is not what it should be.
    pub fn find(data_dir: &Path) -> Result<Option<Self>> {
        let path = data_dir.join(Self::NAME);
        go::find(&path)?.map(|text| Self::parse(path, &text)).transpose()
    }

    pub(super) fn parse(path: PathBuf, text: &str) -> Result<Self> {
        let (document, decoded) = go::read(&path, text, decode::tidy, decode::decode)?;
        Ok(Self { path, document, decoded })
    }

    /// Makes the data directory and its file, without kernels and with these options for all.
    ///
    /// # Errors
    ///
    /// Where there is one and `force` is not set, or it cannot be written.
    pub fn create(
        data_dir: &Path,
        common_options: &[Vec<String>],
        force: bool,
        previous: Previous,
        events: &Events,
    ) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(data_dir);
        made.map_err(|error| Error::path("create", data_dir, error))?;
        let _alone = lock(data_dir, events)?;
        let path = data_dir.join(Self::NAME);
        if !force && path.exists() {
            let message = format!("config file `{}` already exists", path.display());
            let hint = "`--force` replaces it, `--force --backup-conf` keeps the old one beside it";
            return Err(Error::new(ErrorKind::Usage, message).with_hint(hint));
        }
        save::save(&path, &entry::empty_file(common_options), previous, events)
    }

    /// Changes the file of the data directory, while no other process does.
    ///
    /// # Errors
    ///
    /// Those of [`KernelsFile::load`] and of `change`, which leave the file as it is; and when it cannot be written.
    pub fn edit<T>(
        data_dir: &Path,
        previous: Previous,
        events: &Events,
        change: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        if !data_dir.join(Self::NAME).exists() {
            return Err(missing(data_dir));
        }
        let _alone = lock(data_dir, events)?;
        let mut file = Self::load(data_dir)?;
        let result = change(&mut file)?;
        save::save(&file.path, &file.document, previous, events)?;
        Ok(result)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kernels, in their order.
    pub fn kernels(&self) -> &[KernelEntry] {
        &self.decoded.kernels
    }

    /// The kernel called `name`.
    ///
    /// # Errors
    ///
    /// Where there is none; the message lists those that there are.
    pub fn kernel(&self, name: &str) -> Result<&KernelEntry> {
        self.kernels().iter().find(|kernel| kernel.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.kernels().iter().map(|kernel| kernel.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message = format!("kernel `{name}` not found in `{}` (known: {known})", self.path.display());
            Error::new(ErrorKind::Usage, message)
        })
    }

    /// Options of all kernels, which go before their own.
    pub fn common_options(&self) -> &[Vec<String>] {
        &self.decoded.common_options
    }

    /// How a kernel of the file is configured and built: with the options of all kernels, then its own.
    ///
    /// # Errors
    ///
    /// Where an option is not written as for the kernel's `scripts/config`.
    pub fn build_spec(&self, kernel: &KernelEntry, arch: Arch) -> Result<BuildSpec> {
        let entries = self.common_options().iter().chain(&kernel.options);
        // Go passed an empty list on, and `scripts/config` did nothing.
        let options: Result<Vec<_>> =
            entries.filter(|entry| !entry.is_empty()).map(|entry| KernelOption::parse_entry(entry)).collect();
        let options = options.map_err(|error| {
            let message = format!("an option in `{}` is wrong", self.path.display());
            Error::new(error.kind(), message).with_source(error)
        })?;
        let make_args = kernel.extra_make_args.clone();
        Ok(BuildSpec { options: options.concat(), arch, make_args, ..BuildSpec::default() })
    }

    /// Adds a kernel behind all others.
    ///
    /// # Errors
    ///
    /// Where there is one of its name.
    pub fn add(&mut self, kernel: KernelEntry) -> Result<()> {
        if self.kernels().iter().any(|known| known.name == kernel.name) {
            let message = format!("kernel `{}` already exists in `{}`", kernel.name, self.path.display());
            return Err(Error::new(ErrorKind::Usage, message));
        }
        self.array().push(kernel.to_value());
        self.decoded.kernels.push(kernel);
        Ok(())
    }

    /// Takes a kernel out.
    ///
    /// # Errors
    ///
    /// As [`KernelsFile::kernel`].
    pub fn remove(&mut self, name: &str) -> Result<KernelEntry> {
        self.kernel(name)?;
        let index = self.kernels().iter().position(|kernel| kernel.name == name).expect("it was found above");
        self.array().remove(index);
        Ok(self.decoded.kernels.remove(index))
    }

    /// The kernels as they stand in the document.
    fn array(&mut self) -> &mut Vec<Value> {
        match self.document.get_mut("kernels") {
            Some(Value::Array(kernels)) => kernels,
            _ => unreachable!("`decode::tidy` makes it, and `decode::decode` refuses all else"),
        }
    }
}

/// The directory itself is locked, so that no file of ours appears in it.
fn lock(data_dir: &Path, events: &Events) -> Result<Lock> {
    Lock::directory(data_dir, &|| {
        events.note(format!("waiting for another process that changes `{}`", data_dir.display()));
    })
}

fn missing(data_dir: &Path) -> Error {
    let message = format!("`{}` does not exist", data_dir.join(KernelsFile::NAME).display());
    Error::new(ErrorKind::Usage, message)
        .with_hint(format!("`lvh kernels init --dir {}` makes one", data_dir.display()))
}
