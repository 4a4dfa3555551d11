use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::log::BuildLog;
use super::site::Site;
use super::{BuildSpec, leftovers, standing, tools};
use crate::kernel::git::{BUILT, Checkouts, Mark};
use crate::kernel::options::OptionOutcome;
use crate::kernel::{KernelConfig, KernelRelease};
use crate::store::Key;
use crate::{Error, ErrorKind, Events, Result};

/// Part of each kernel's key: to be raised when a build is done in another way.
const LAYOUT: &str = "1";
/// The mark of a build that is under way.
const BUILDING: &str = "building";
/// How many files a kernel of so many options that are on is made of, roughly: Linux 6.12, 740 options, 1 733 objects.
const FILES_PER_OPTION: f64 = 2.5;

/// What shall be there after a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Products {
    /// Image and modules, in the output directory.
    Kernel,
    /// Also the installed tree `tar-install` and the archive `linux-RELEASE-ARCH.tar` of it, in the source tree.
    Packages,
}

/// A kernel that was built.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Built {
    /// The image, in the output directory.
    pub image: PathBuf,
    /// The configuration.
    pub config: PathBuf,
    /// `uname -r`.
    pub release: KernelRelease,
    /// The commit that it was built from.
    pub commit: String,
    /// The digest of all that it is made of.
    pub key: Key,
    /// Whether make had to run.
    pub made: bool,
    /// What became of the options, where it was configured for this.
    pub outcomes: Option<Vec<OptionOutcome>>,
    /// All that make said in the last build.
    pub log: PathBuf,
}

/// Builds the kernel `name`, whose tree is there, unless it is built already.
///
/// # Errors
/// When a tool is missing or make fails; the error has the end of what it said, and where all of it is.
pub fn build(
    checkouts: &Checkouts,
    name: &str,
    spec: &BuildSpec,
    products: Products,
    events: &Events,
) -> Result<Built> {
    let open = checkouts.open(name, events)?;
    let site = Site::new(&open, spec, events)?;
    let built = site.build(products).and_then(|built| site.show().map(|()| built));
    built.map_err(|error| error.about("kernel", name))
}

impl Site<'_> {
    /// Configures what is to be built, and tells the digest that it will have.
    pub(in crate::kernel) fn plan(&self) -> Result<(Key, Option<Vec<OptionOutcome>>)> {
        let outcomes = self.ensure_configured()?;
        Ok((self.key()?, outcomes))
    }

    pub(in crate::kernel) fn build(&self, products: Products) -> Result<Built> {
        let (key, outcomes) = self.plan()?;
        let config = KernelConfig::load(&self.config())?;
        let log = self.note_path("build.log");
        let stands = self.output(self.target.image()).is_some() && self.noted(BUILT) == self.built(&key);
        let packed = products == Products::Kernel || self.is_packed(&key);
        if !stands || !packed {
            tools::check_for_building(self.spec, &config)?;
            let mark = self.begin()?;
            let mut log = BuildLog::begin(log.clone())?;
            if !stands {
                self.make_all(&config, &mut log)?;
                // make completes a configuration that Kconfig would ask about.
                self.note_completed()?;
                self.note(BUILT, &self.built(&self.key()?))?;
            }
            if products == Products::Packages {
                self.pack(&mut log)?;
            }
            mark.clear()?;
        }
        Ok(Built {
            image: self.out.join(self.target.image()),
            config: self.config(),
            release: self.release()?,
            commit: self.checkout.commit.clone(),
            key: self.key()?,
            made: !stands,
            outcomes,
            log,
        })
    }

    /// Installs the modules below `root`, where the kernel has any.
    pub(in crate::kernel) fn install_modules(&self, root: &Path) -> Result<()> {
        if !KernelConfig::load(&self.config())?.is_on("MODULES") {
            return Ok(());
        }
        self.clear_tree()?;
        let mut log = BuildLog::begin(self.note_path("install.log"))?;
        let path = format!("INSTALL_MOD_PATH={}", root.display());
        // BTF stays: strip takes debugging sections alone.
        self.make().run("installing modules", &[&path, "INSTALL_MOD_STRIP=1", "modules_install"], &mut log, None)?;
        // They lead to source and output directory, which a guest does not have.
        let modules = root.join("lib/modules").join(self.release()?.as_str());
        ["build", "source"].iter().for_each(|link| drop(fs::remove_file(modules.join(link))));
        Ok(())
    }

    /// The path of `name` in the output directory, if it is there.
    pub(in crate::kernel) fn output(&self, name: &str) -> Option<PathBuf> {
        Some(self.out.join(name)).filter(|path| path.is_file())
    }

    fn make_all(&self, config: &KernelConfig, log: &mut BuildLog) -> Result<()> {
        let fresh = !self.out.join("vmlinux").exists();
        let expected = fresh.then(|| self.noted("objects").trim().parse().unwrap_or_else(|_| estimate(config)));
        let goals =
            if config.is_on("MODULES") { vec![self.target.goal(), "modules"] } else { vec![self.target.goal()] };
        self.make().run("building", &goals, log, expected)?;
        if fresh { self.note("objects", &log.made.to_string()) } else { Ok(()) }
    }

    fn pack(&self, log: &mut BuildLog) -> Result<()> {
        self.make().run("packing", &["tar-pkg"], log, None)?;
        standing::move_packages(self.tree(), &self.out)?;
        self.note("packed", self.key()?.as_str())
    }

    fn is_packed(&self, key: &Key) -> bool {
        let there = self.tree().join("tar-install/boot").is_dir() && !standing::archives(self.tree()).is_empty();
        there && self.noted("packed") == key.as_str()
    }

    /// Clears the way for make, and marks that it is at work.
    fn begin(&self) -> Result<Mark> {
        if let Some(mark) = self.open.places.broken_off(BUILDING) {
            let began = fs::metadata(mark.path()).and_then(|mark| mark.modified());
            let began = began.map_err(|e| Error::path("look at", mark.path(), e))?;
            leftovers::remove_half_files(&self.out, began)?;
            mark.clear()?;
        }
        self.clear_tree()?;
        self.open.places.mark(BUILDING)
    }

    /// The digest of what the kernel is made of.
    fn key(&self) -> Result<Key> {
        let compiler = tools::compiler_version(self.spec)?;
        let parts = [
            "kernel",
            LAYOUT,
            &self.checkout.commit,
            &self.checkout.changes,
            &self.config_digest()?,
            &compiler,
            self.spec.arch.as_str(),
        ];
        Ok(Key::of(parts.into_iter().chain(self.spec.make_args.iter().map(String::as_str))))
    }

    /// What is noted of a finished build: what it is made of, and the image that came out.
    fn built(&self, key: &Key) -> String {
        // Not the time of the last change of the inode: that is when the image got its link in the tree.
        let image = fs::metadata(self.out.join(self.target.image()));
        let image = image.map(|image| format!("{} {}.{}", image.size(), image.mtime(), image.mtime_nsec()));
        format!("{key}\n{}", image.unwrap_or_default())
    }

    fn release(&self) -> Result<KernelRelease> {
        let path = self.out.join("include/config/kernel.release");
        let text = fs::read_to_string(&path).map_err(|e| Error::path("read", &path, e))?;
        KernelRelease::parse(text.trim()).ok_or_else(|| {
            Error::new(
                ErrorKind::Artifact,
                format!("`{}` is no release of a kernel: `{}`", text.trim(), path.display()),
            )
        })
    }
}

/// Roughly how many files make will make.
fn estimate(config: &KernelConfig) -> u64 {
    (config.count_on() as f64 * FILES_PER_OPTION) as u64
}
