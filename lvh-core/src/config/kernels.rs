//! From a kernel's name to where it comes from.

use std::path::{Path, PathBuf};

use super::file::document::bare_or_quoted;
use super::file::kernel_table::{faulty_field, faulty_image};
use super::published::{BRANCHES, looks_published, nearest};
use super::{Config, KernelsFile};
use crate::kernel::{DebSource, GitSource, KernelSource, OciSource, UnknownKernel};
use crate::{Arch, Error, ErrorKind, Result};

/// The kernel of tests that name none.
pub(super) const DEFAULT: &str = "6.12";

/// Debian's releases and the long-term kernel that each ships.
const BUILT_IN: &[(&str, &str)] = &[("5.10", "bullseye"), ("6.1", "bookworm"), ("6.12", "trixie")];

/// What a name means, before anything is looked up on disk.
enum Meaning {
    /// Settled.
    Source(KernelSource),
    /// A path written in place of a name.
    Path(PathBuf),
    /// Recognised, but wrong or not possible yet.
    Failed(Error),
    /// Nothing that lvh knows.
    Unknown,
}

impl Config {
    /// Where the kernel called `name` comes from.
    ///
    /// The first that knows the name wins: a `[kernels]` table, the data directory's `kernels.json`, `host`, a path (it
    /// holds a slash), `deb:PACKAGE@SUITE` with an optional `=VERSION`, `oci:IMAGE`, the built-in names of Debian's long-term
    /// kernels (`5.10`, `6.1`, `6.12`), and a name that looks like one of a published kernel (`6.6`, `bpf-next`).
    ///
    /// # Errors
    ///
    /// Where nothing knows the name (the message lists what is known), or its path does not exist.
    pub fn kernel(&self, name: &str) -> Result<KernelSource> {
        match self.meaning(name) {
            Meaning::Source(KernelSource::Path(path)) | Meaning::Path(path) => existing(name, path),
            Meaning::Source(KernelSource::Deb(mut deb)) => {
                deb.mirror = deb.mirror.or_else(|| self.debian_mirror.clone());
                Ok(KernelSource::Deb(deb))
            }
            Meaning::Source(source) => Ok(source),
            Meaning::Failed(error) => Err(error),
            Meaning::Unknown => Err(self.unknown(name).named_by(None)),
        }
    }

    /// The names that [`Config::kernel`] knows by themselves, in the order of their versions.
    pub fn kernel_names(&self) -> Vec<String> {
        // Why the file cannot be read is said to who asks for a kernel of it.
        let file = self.kernels_json().ok().flatten();
        let of_file = file.iter().flat_map(|file| file.kernels().iter().map(|kernel| kernel.name.clone()));
        let built_in = BUILT_IN.iter().map(|(name, _)| (*name).to_owned());
        let mut names: Vec<String> = self.kernels.keys().cloned().chain(of_file).chain(built_in).collect();
        names.sort_by_cached_key(|name| version_order(name));
        names.dedup();
        names
    }

    /// Refuses `default-kernels` that nothing knows.
    pub(super) fn check_default_kernels(&self) -> Result<()> {
        let named = self.default_kernels.iter().zip(&self.default_kernel_places);
        named
            .into_iter()
            .try_for_each(|(name, place)| self.check_name(name).map_err(|error| error.named_by(Some(place))))
    }

    /// Refuses a name that nothing knows; whether its kernel can be had is asked when a test needs it.
    pub(super) fn check_name(&self, name: &str) -> std::result::Result<(), UnknownKernel> {
        match self.meaning(name) {
            Meaning::Unknown => Err(self.unknown(name)),
            _ => Ok(()),
        }
    }

    fn meaning(&self, name: &str) -> Meaning {
        if let Some(source) = self.kernels.get(name) {
            return Meaning::Source(source.clone());
        }
        match self.of_kernels_json(name) {
            Ok(None) => {}
            Ok(Some(file)) => return built(name, &file).map_or_else(Meaning::Failed, Meaning::Source),
            Err(error) => return Meaning::Failed(error),
        }
        if name == "host" {
            return Meaning::Source(KernelSource::Host);
        }
        if let Some(rest) = name.strip_prefix("deb:") {
            return parse_deb(name, rest).map_or_else(Meaning::Failed, Meaning::Source);
        }
        if let Some(image) = name.strip_prefix("oci:") {
            return self.parse_oci(name, image).map_or_else(Meaning::Failed, Meaning::Source);
        }
        if name.contains('/') {
            return Meaning::Path(self.base_dir.join(name));
        }
        let published = || looks_published(name).then(|| self.published(name));
        built_in(name).or_else(published).map_or(Meaning::Unknown, Meaning::Source)
    }

    fn parse_oci(&self, name: &str, image: &str) -> Result<KernelSource> {
        let expected = "`oci:` and an image, such as `oci:quay.io/lvh-images/kernel-images:6.6-main`";
        match faulty_image(image) {
            false => Ok(KernelSource::Oci(OciSource::new(image).based_at(&self.base_dir))),
            true => Err(Error::new(ErrorKind::Usage, format!("kernel `{name}`: expected {expected}"))),
        }
    }

    /// The published kernel of that name.
    fn published(&self, name: &str) -> KernelSource {
        let image = format!("{}:{name}-main", self.kernel_repo);
        KernelSource::Oci(OciSource { image, otherwise: Some(self.unknown(name)) })
    }

    /// The data directory's `kernels.json`, where it knows the kernel. What is clearly no name of a kernel is not looked up.
    fn of_kernels_json(&self, name: &str) -> Result<Option<KernelsFile>> {
        if name.contains(['/', ':']) {
            return Ok(None);
        }
        let file = self.kernels_json()?;
        Ok(file.filter(|file| file.kernels().iter().any(|kernel| kernel.name == name)))
    }

    fn kernels_json(&self) -> Result<Option<KernelsFile>> {
        // Without a home directory there is no default data directory, and nothing in it.
        self.data_dir().map_or(Ok(None), |dir| KernelsFile::find(&dir))
    }

    fn unknown(&self, name: &str) -> UnknownKernel {
        let names = self.kernel_names();
        let known = names.join(", ");
        let json = self.kernels_json().ok().flatten().map(|file| file.path().display().to_string());
        let files: Vec<String> = self
            .file
            .iter()
            .map(|file| file.display().to_string())
            .chain(json)
            .map(|file| format!("`{file}`"))
            .collect();
        let found_nowhere = match &files[..] {
            [] => format!("there is no kernel `{name}`"),
            files => format!("kernel `{name}` is not in {}", files.join(" or ")),
        };
        let no_file = if self.file.is_none() { ", and there is no `lvh.toml`" } else { "" };
        let package = format!("linux-image-{}", Arch::HOST.debian());
        let table = format!("[kernels.{}] with deb = \"{package}\" and suite = \"…\"", bare_or_quoted(name));
        UnknownKernel {
            message: format!("{found_nowhere} (known: {known}){no_file}"),
            hint: match nearest(name, names.iter().map(String::as_str).chain(BRANCHES)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write a table {table}, or with path = \"…\"{}", self.where_to_write()),
            },
        }
    }

    /// What a hint says of the file to write to, where there is none yet.
    pub(super) fn where_to_write(&self) -> &'static str {
        if self.file.is_some() {
            ""
        } else {
            ", in a file `lvh.toml` beside the package's or the workspace's `Cargo.toml`"
        }
    }
}

/// A kernel of `kernels.json`: it is built from its source, or its tree was made by other means.
fn built(name: &str, file: &KernelsFile) -> Result<KernelSource> {
    let kernel = file.kernel(name)?;
    let data_dir = file.path().parent().unwrap_or(Path::new(""));
    let source = || {
        let tree = kernel.tree(data_dir)?;
        if kernel.url.is_empty() && tree.exists() {
            return Ok(KernelSource::Path(tree));
        }
        let (url, build) = (kernel.git_url(data_dir)?, file.build_spec(kernel, Arch::HOST)?);
        Ok(KernelSource::Git(GitSource { url, build, tree: Some(name.to_owned()) }))
    };
    source().map_err(|error: Error| {
        let hint = format!("a table [kernels.{}] in `{}` goes first", bare_or_quoted(name), Config::FILE_NAME);
        let message = format!("kernel `{name}` of `{}` cannot be built", file.path().display());
        Error::new(error.kind(), message).with_source(error).with_hint(hint)
    })
}

/// A path of the user's is never a guess.
fn existing(name: &str, path: PathBuf) -> Result<KernelSource> {
    match path.try_exists() {
        Ok(true) => Ok(KernelSource::Path(path)),
        Ok(false) => {
            let message = format!("kernel `{name}`: `{}` does not exist", path.display());
            Err(Error::new(ErrorKind::Usage, message))
        }
        Err(error) => Err(Error::path("look at", &path, error)),
    }
}

/// Reads `PACKAGE@SUITE` or `PACKAGE@SUITE=VERSION`.
fn parse_deb(name: &str, rest: &str) -> Result<KernelSource> {
    let wrong = |detail: String| Error::new(ErrorKind::Usage, format!("kernel `{name}`: {detail}"));
    let Some((package, suite)) = rest.split_once('@') else {
        return Err(wrong("expected `deb:PACKAGE@SUITE` or `deb:PACKAGE@SUITE=VERSION`".to_owned()));
    };
    let (suite, version) = match suite.split_once('=') {
        Some((suite, version)) => (suite, Some(version)),
        None => (suite, None),
    };
    let source = debian(package, suite, version);
    match faulty_field(&source) {
        None => Ok(KernelSource::Deb(source)),
        Some((_, value, expected)) => Err(wrong(format!("`{value}` is not {expected}"))),
    }
}

fn built_in(name: &str) -> Option<KernelSource> {
    let (_, suite) = BUILT_IN.iter().find(|(version, _)| *version == name)?;
    let package = format!("linux-image-{}", Arch::HOST.debian());
    Some(KernelSource::Deb(debian(&package, suite, None)))
}

fn debian(package: &str, suite: &str, version: Option<&str>) -> DebSource {
    DebSource {
        package: package.to_owned(),
        suite: suite.to_owned(),
        mirror: None,
        keyring: None,
        version: version.map(str::to_owned),
        allow_expired: false,
    }
}

/// Sorts `5.10` before `6.1` before `6.12` before words.
fn version_order(name: &str) -> (bool, Vec<u64>, String) {
    let numbers: Option<Vec<u64>> = name.split('.').map(|part| part.parse().ok()).collect();
    (numbers.is_none(), numbers.unwrap_or_default(), name.to_owned())
}
