//! What the rest of lvh sees of the configuration.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::document::Document;
use super::file::image_table::ImageTable;
use super::file::schema;
use super::kernels;
use super::value::{Accel, Channel, EnvPattern, KernelEventKind, Memory, Share};
use crate::store::{Cache, Pins};
use crate::{Error, ErrorKind, KernelSource, Result, Store};

/// Where the Cilium project publishes kernels.
pub const KERNEL_REPOSITORY: &str = "quay.io/lvh-images/kernel-images";

/// The checked configuration: an `lvh.toml`, or the defaults where there is none.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The `lvh.toml` that was read. Default: none.
    pub file: Option<PathBuf>,
    /// What relative paths start from: the directory of `lvh.toml` or, without one, of the search. Default: `.`.
    pub base_dir: PathBuf,
    /// `data-dir` or `LVH_DATA_DIR`; [`Config::data_dir`] fills in the rest. Default: none.
    pub data_dir: Option<PathBuf>,
    /// Kernels of tests that name none. Default: `6.12`.
    pub default_kernels: Vec<String>,
    /// Where published kernels are, without a tag. Default: [`KERNEL_REPOSITORY`].
    pub kernel_repo: String,
    /// The repository, without `oci://`, in which kernels are looked for before they are built. Default: none.
    pub cache: Option<String>,
    /// What is built goes there. Default: false.
    pub cache_push: bool,
    /// The `[vm]` table.
    pub vm: VmDefaults,
    /// The only channel to try. Default: the best that host and guest offer.
    pub channel: Option<Channel>,
    /// The only share to try. Default: the best that the guest offers.
    pub share: Option<Share>,
    /// Never touch the network. Default: false.
    pub offline: bool,
    /// Never resolve a name that `lvh.lock` does not have. Default: false.
    pub locked: bool,
    /// Tell of every VM, also of those that go on from a snapshot. Default: false.
    pub verbose: bool,
    /// How many VMs may run on the machine at a time, by `LVH_VMS`. Default: four for each processor.
    pub vms: Option<usize>,
    /// The archive of Debian kernels that name none. Default: the mirror of the machine's own apt configuration.
    pub debian_mirror: Option<String>,
    /// The file and the line of each of `default_kernels`, where they come from a file.
    pub(super) default_kernel_places: Vec<String>,
    /// The `[kernels.NAME]` tables.
    pub(super) kernels: BTreeMap<String, KernelSource>,
    /// The `[images.NAME]` tables.
    pub(super) images: BTreeMap<String, ImageTable>,
}

/// The `[vm]` table: what a test's attribute does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VmDefaults {
    /// Virtual CPUs. Default: 2 with KVM, 1 under TCG.
    pub cpus: Option<u32>,
    /// Guest memory. Default: none, and then [`VmDefaults::MEMORY`], or less in a small container.
    pub memory: Option<Memory>,
    /// What runs the guest's instructions. Default: `auto`.
    pub accel: Accel,
    /// How long a boot may take. Default: ten times [`VmDefaults::TIMEOUT`], for it may turn out that there is no KVM.
    pub boot_timeout: Option<Duration>,
    /// How long a test may take. Default: [`VmDefaults::TIMEOUT`], ten times that without KVM.
    pub test_timeout: Option<Duration>,
    /// Variables that the guest gets beside those that lvh always passes on. Default: none.
    pub env: Vec<EnvPattern>,
    /// Appended to the kernel's command line. Default: empty.
    pub kernel_args: String,
    /// Kernel modules to load before a test. Default: none.
    pub modules: Vec<String>,
    /// Resume VMs from snapshots, rather than boot each. Default: true.
    pub warm_start: bool,
    /// Whether guests have a network. Default: false.
    pub network: bool,
    /// Whether guests have their kernel's headers, which modules are built with. Default: false.
    pub headers: bool,
    /// What fails a test that would pass, if the kernel reports it meanwhile. Default: oopses and lockups.
    pub fail_on: Vec<KernelEventKind>,
}

impl VmDefaults {
    /// The default of `boot-timeout` and of `test-timeout`, with KVM.
    pub const TIMEOUT: Duration = Duration::from_secs(60);

    /// The default of `memory`, where there is room.
    pub const MEMORY: Memory = Memory::from_mib(1024);
}

impl Default for VmDefaults {
    fn default() -> Self {
        Self {
            cpus: None,
            memory: None,
            accel: Accel::Auto,
            boot_timeout: None,
            test_timeout: None,
            env: Vec::new(),
            kernel_args: String::new(),
            modules: Vec::new(),
            warm_start: true,
            network: false,
            headers: false,
            fail_on: vec![KernelEventKind::Oops, KernelEventKind::Lockup],
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: None,
            base_dir: PathBuf::from("."),
            data_dir: None,
            default_kernels: vec![kernels::DEFAULT.to_owned()],
            kernel_repo: KERNEL_REPOSITORY.to_owned(),
            cache: None,
            cache_push: false,
            vm: VmDefaults::default(),
            channel: None,
            share: None,
            offline: false,
            locked: false,
            verbose: false,
            vms: None,
            debian_mirror: None,
            default_kernel_places: Vec::new(),
            kernels: BTreeMap::new(),
            images: BTreeMap::new(),
        }
    }
}

impl Config {
    /// The name of the file that [`Config::discover`] looks for.
    pub const FILE_NAME: &str = "lvh.toml";

    /// Reads the nearest `lvh.toml` in `start` or above; without one, the defaults. It also knows the kernels and images of
    /// those above it, and nothing else of them.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, or holds something that lvh does not know; the message names the line.
    pub fn discover(start: &Path) -> Result<Self> {
        Self::find(start)?.checked()
    }

    /// As [`Config::discover`], while it is not clear yet where kernels are kept.
    pub(super) fn find(start: &Path) -> Result<Self> {
        let start = std::path::absolute(start).map_err(|error| Error::path("find", start, error))?;
        let found = start.ancestors().map(|dir| dir.join(Self::FILE_NAME)).filter(|file| file.is_file());
        let files: Vec<PathBuf> = found.collect();
        let mut above = None;
        for file in files.iter().rev() {
            above = Some(Self::read(file, above)?);
        }
        Ok(above.unwrap_or_else(|| Self { base_dir: start, ..Self::default() }))
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// As [`Config::discover`].
    pub fn load(path: &Path) -> Result<Self> {
        Self::read(path, None)?.checked()
    }

    /// `above`: what the files above it say.
    fn read(path: &Path, above: Option<Self>) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::path("read", path, error))?;
        schema::read(path, Document::new(path, &text), above)
    }

    /// Reads `text` as the content of the file at `path`, which is not opened.
    ///
    /// # Errors
    ///
    /// As [`Config::discover`].
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        schema::read(path, Document::new(path, text), None)?.checked()
    }

    fn checked(self) -> Result<Self> {
        self.check_default_kernels().map(|()| self)
    }

    /// The directory that holds kernels and images: `LVH_DATA_DIR`, else `data-dir`, else lvh's part of the user's
    /// cache directory. It is absolute and need not exist.
    ///
    /// # Errors
    ///
    /// Where none is set and the user has no home directory.
    pub fn data_dir(&self) -> Result<PathBuf> {
        match &self.data_dir {
            Some(dir) => std::path::absolute(dir).map_err(|error| Error::path("find", dir, error)),
            None => default_data_dir(|name| std::env::var_os(name)),
        }
    }

    /// The store in that directory, which touches the network only where this configuration lets it, pins names in the
    /// `lvh.lock` beside `lvh.toml`, and asks its cache.
    ///
    /// # Errors
    ///
    /// As [`Config::data_dir`], and when it cannot be made.
    pub fn store(&self) -> Result<Store> {
        let pins = self.file.as_deref().map(Pins::beside);
        let cache = self.cache.clone().map(|repository| Cache::new(repository, self.cache_push));
        let store = Store::open(self.data_dir()?)?.with_cache(cache);
        Ok(store.with_offline(self.offline).with_pins(pins).with_locked(self.locked))
    }
}

/// `$XDG_CACHE_HOME/lvh`, else `$HOME/.cache/lvh`. The XDG base directory specification ignores a relative
/// `XDG_CACHE_HOME`, and so do we.
fn default_data_dir(lookup: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let absolute = |name| lookup(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    cache.as_deref().map(|cache| Path::join(cache, "lvh")).ok_or_else(|| {
        Error::new(ErrorKind::Usage, "no data directory: neither `XDG_CACHE_HOME` nor `HOME` is an absolute path")
            .with_hint("set `LVH_DATA_DIR`, or `data-dir` in `lvh.toml`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_absolute_directory_wins() {
        let check = |vars: &[(&str, &str)], expected: Option<&str>| {
            let lookup = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            assert_eq!(default_data_dir(lookup).ok().as_deref(), expected.map(Path::new), "{vars:?}");
        };
        check(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")], Some("/c/lvh"));
        check(&[("XDG_CACHE_HOME", ""), ("HOME", "/h")], Some("/h/.cache/lvh"));
        check(&[("XDG_CACHE_HOME", "c"), ("HOME", "/h")], Some("/h/.cache/lvh"));
        check(&[], None);
    }
}
