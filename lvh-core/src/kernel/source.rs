use std::fmt;
use std::path::{Path, PathBuf};

use super::build::BuildSpec;
use super::git::GitUrl;
use crate::store::{Entry, Key};
use crate::{Arch, Error, ErrorKind};

/// Where a kernel comes from: the checked form of a `[kernels.NAME]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KernelSource {
    /// A Debian package.
    Deb(DebSource),
    /// A git repository that it is built from.
    Git(GitSource),
    /// An archive of its source that it is built from.
    Tarball(TarballSource),
    /// A kernel file of the web.
    File(FileSource),
    /// An image of an OCI registry, or one in a layout or archive.
    Oci(OciSource),
    /// A kernel file, a build tree, or an installed tree (`boot/`, `lib/modules/`).
    Path(PathBuf),
    /// The kernel that runs on this machine.
    Host,
}

/// A Debian package and the archive it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebSource {
    /// Package name, such as `linux-image-amd64`; meta packages are followed.
    pub package: String,
    /// Suite, such as `trixie` or `trixie-backports`.
    pub suite: String,
    /// Base URL of the archive. Default: the mirror of the machine's own apt configuration.
    pub mirror: Option<String>,
    /// Keyring that signs the suite. Default: Debian's archive keyring.
    pub keyring: Option<PathBuf>,
    /// Exact package version. Default: the newest.
    pub version: Option<String>,
    /// Accept an index whose `Valid-Until` has passed. Default: false.
    pub allow_expired: bool,
}

/// A git repository, and what is to be made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitSource {
    /// Where the source is.
    pub url: GitUrl,
    /// How it is configured and built.
    pub build: BuildSpec,
    /// The tree of `kernels/` in the data directory that it is built in, and that people work in too: that of a kernel of
    /// `kernels.json`. Default: one of its own.
    pub tree: Option<String>,
}

/// An archive of a kernel's source, and what is to be made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarballSource {
    /// Where it is.
    pub place: TarballPlace,
    /// Its SHA-256. Default: none, which is an error that tells it.
    pub sha256: Option<Key>,
    /// How it is configured and built.
    pub build: BuildSpec,
}

/// Where an archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TarballPlace {
    /// Behind an `http` or `https` URL.
    Url(String),
    /// On this machine.
    Path(PathBuf),
}

impl fmt::Display for TarballPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// A kernel file of the web: any that [`KernelSource::Path`] takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSource {
    /// Its `http` or `https` URL.
    pub url: String,
    /// Its SHA-256. Default: none, which is an error that tells it.
    pub sha256: Option<Key>,
}

/// An image that has a kernel in `/data/kernels/VERSION`, with `boot/` and `lib/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciSource {
    /// `[REGISTRY/]REPOSITORY[:TAG][@sha256:DIGEST]`; `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]` or `docker-archive:FILE[:TAG]`.
    pub image: String,
    /// What is to be said where the image cannot be had, if nothing but the look of the name led to it.
    pub(crate) otherwise: Option<UnknownKernel>,
}

/// Why a kernel name is not known, before it is clear who names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnknownKernel {
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl UnknownKernel {
    /// The error where `origin` names the kernel: a test, a flag, a variable, a line of a file.
    pub(crate) fn named_by(self, origin: Option<&str>) -> Error {
        let prefix = origin.map(|origin| format!("{origin}: ")).unwrap_or_default();
        Error::new(ErrorKind::Usage, format!("{prefix}{}", self.message)).with_hint(self.hint)
    }
}

impl OciSource {
    /// The kernel of `image`.
    pub fn new(image: impl Into<String>) -> Self {
        Self { image: image.into(), otherwise: None }
    }

    /// The same, with the paths of layouts and archives starting at `dir`.
    #[must_use]
    pub(crate) fn based_at(self, dir: &Path) -> Self {
        let local = LOCAL.iter().find_map(|kind| Some((kind, self.image.strip_prefix(kind)?)));
        match local {
            Some((kind, path)) => Self { image: format!("{kind}{}", dir.join(path).display()), ..self },
            None => self,
        }
    }

    /// Whether it may be another image tomorrow, for whoever has the same name of it.
    pub(crate) fn is_mutable(&self) -> bool {
        self.is_remote() && !self.image.contains("@sha256:")
    }

    /// Whether it takes a network.
    pub(crate) fn is_remote(&self) -> bool {
        !LOCAL.iter().any(|kind| self.image.starts_with(kind))
    }
}

/// How the names of images begin that lie on this machine.
const LOCAL: [&str; 3] = ["oci:", "oci-archive:", "docker-archive:"];

/// `uname -r` of a kernel, such as `6.12.117+deb13-amd64`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelRelease(String);

impl KernelRelease {
    /// Takes the release as the kernel gives it.
    pub fn new(release: impl Into<String>) -> Self {
        Self(release.into())
    }

    /// Takes what a file says its release is; `None` where it could not be the name of a directory in `lib/modules`.
    pub fn parse(text: &str) -> Option<Self> {
        let odd = |c: char| c == '/' || c.is_whitespace() || c.is_control();
        (!text.is_empty() && !text.starts_with('.') && !text.contains(odd)).then(|| Self::new(text))
    }

    /// The release as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KernelRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A kernel on disk, ready to boot.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Kernel {
    /// The name it was asked for by, such as `6.12`.
    pub name: String,
    /// What exactly it is, such as `linux-image-6.12.117+deb13-amd64 6.12.117-1 sha256:1f…`.
    pub identity: String,
    /// Digest (hex SHA-256) of what the boot files depend on: caches of derived files are keyed by it.
    pub key: String,
    /// The architecture that it runs on.
    pub arch: Arch,
    /// `uname -r`.
    pub release: KernelRelease,
    /// The bootable image (bzImage on x86-64, Image on arm64).
    pub image: PathBuf,
    /// The uncompressed ELF with a PVH entry note, where the image holds one.
    pub vmlinux: Option<PathBuf>,
    /// The kernel's `.config`, where it is known.
    pub config: Option<PathBuf>,
    /// The module tree: the directory that is `/lib/modules/RELEASE` for this kernel, where it has one.
    pub modules: Option<PathBuf>,
    /// Keeps what of it is in the store from being removed.
    pub(crate) in_use: Vec<Entry>,
}

impl Kernel {
    /// Where guests have its modules.
    pub(crate) fn modules_in_guest(&self) -> PathBuf {
        PathBuf::from("/lib/modules").join(self.release.as_str())
    }
}

#[cfg(test)]
impl Kernel {
    /// One that is nowhere on disk.
    pub(crate) fn example() -> Self {
        Self {
            name: "k".into(),
            identity: "k".into(),
            key: "k".into(),
            arch: Arch::X86_64,
            release: KernelRelease::new("6.1"),
            image: "/k/bzImage".into(),
            vmlinux: None,
            config: None,
            modules: None,
            in_use: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_stay_in_their_directory() {
        assert!(KernelRelease::parse("6.12.117+deb13-amd64").is_some());
        for odd in ["", "..", "../../etc", "6.1/x", "6.1 x", "6.1\n"] {
            assert_eq!(KernelRelease::parse(odd), None, "{odd:?}");
        }
    }
}
