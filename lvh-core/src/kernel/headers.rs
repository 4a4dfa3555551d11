//! What the modules of others are built with: the headers of a kernel.

use std::path::{Path, PathBuf};

use super::sources::local::{self, LocalModules};
use super::wanted::Wanted;
use super::{Kernel, KernelSource, deb};
use crate::machine::on_a_thread;
use crate::store::{Entry, Store};
use crate::{Error, ErrorKind, Events, Result};

/// The headers of a kernel: what is `/lib/modules/RELEASE/build` for it.
#[derive(Debug, Clone)]
pub struct Headers {
    /// Directories of this machine, and where a guest has them.
    pub(crate) shown: Vec<(PathBuf, PathBuf)>,
    /// Where `/lib/modules/RELEASE/build` leads to. Build files find others by paths that start there.
    pub(crate) build: PathBuf,
    /// Keeps what of them is in the store from being removed.
    pub(crate) in_use: Option<Entry>,
}

/// The headers of `kernel`, which `source` was resolved to: of Debian's packages, fetched where the store does not have them yet; a
/// build tree itself; of an installed kernel what is installed.
///
/// # Errors
/// There are none, or they cannot be fetched.
pub async fn headers(kernel: &Kernel, source: &KernelSource, store: &Store, events: &Events) -> Result<Headers> {
    let (kernel, source, store, events) = (kernel.clone(), source.clone(), store.clone(), events.clone());
    on_a_thread("lvh-headers", move || headers_blocking(&kernel, &source, &store, &events)).await
}

/// As [`headers`], for callers without a runtime.
///
/// # Errors
/// As [`headers`].
pub fn headers_blocking(kernel: &Kernel, source: &KernelSource, store: &Store, events: &Events) -> Result<Headers> {
    match source {
        KernelSource::Deb(source) => {
            let subject = format!("headers of kernel `{}`", kernel.name);
            let (name, newest) = (&kernel.name, false);
            let wanted = Wanted { name, subject: &subject, store, events, newest, pin: None, records: false };
            let entry = deb::headers(&wanted, source, kernel)?;
            of_packages(entry.path(), kernel).map(|headers| Headers { in_use: Some(entry), ..headers })
        }
        KernelSource::Path(path) => match local::at(path)?.modules {
            LocalModules::Built(root) => Ok(Headers::at(root)),
            _ => installed(kernel),
        },
        _ => installed(kernel),
    }
}

impl Headers {
    /// A directory of this machine, which a guest has at the same path.
    fn at(build: PathBuf) -> Self {
        Self { shown: vec![(build.clone(), build.clone())], build, in_use: None }
    }
}

/// Those of packages lie where their build files look for each other: at their own paths.
fn of_packages(entry: &Path, kernel: &Kernel) -> Result<Headers> {
    let mut shown = Vec::new();
    for place in ["usr/src", "usr/lib"] {
        let dir = entry.join(place);
        let found = std::fs::read_dir(&dir).map_err(|e| Error::path("read", &dir, e))?;
        shown.extend(found.flatten().map(|found| (found.path(), Path::new("/").join(place).join(found.file_name()))));
    }
    let build = format!("/usr/src/linux-headers-{}", kernel.release).into();
    Ok(Headers { shown, build, in_use: None })
}

/// The link beside its modules leads there.
fn installed(kernel: &Kernel) -> Result<Headers> {
    let there = kernel.modules.as_ref().and_then(|modules| modules.join("build").canonicalize().ok());
    there.filter(|dir| dir.join("Makefile").is_file()).map(Headers::at).ok_or_else(|| {
        let message = format!("kernel `{}` ({}) has no headers here", kernel.name, kernel.release);
        Error::new(ErrorKind::Missing, message).with_hint(
            "Debian's kernels and build trees have them, and installed kernels whose `lib/modules/RELEASE/build` leads to them",
        )
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn an_installed_kernel_has_them_where_its_link_leads() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (modules, sources) = (root.join("lib/modules/6.1"), root.join("src"));
        let mut kernel = Kernel::example();
        let error = installed(&kernel).unwrap_err();
        assert!(error.to_string().starts_with("kernel `k` (6.1) has no headers here") && error.hint().is_some());
        kernel.modules = Some(modules.clone());
        fs::create_dir_all(&modules).unwrap();
        symlink(&sources, modules.join("build")).unwrap();
        assert!(installed(&kernel).is_err(), "a link that leads nowhere");
        fs::create_dir(&sources).unwrap();
        fs::write(sources.join("Makefile"), "").unwrap();
        let headers = installed(&kernel).unwrap();
        assert_eq!((headers.build, headers.shown), (sources.clone(), vec![(sources.clone(), sources)]));
    }

    #[test]
    fn packages_are_shown_at_their_own_paths() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["usr/src/linux-headers-6.1", "usr/lib/linux-kbuild-6"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let Headers { shown, build, .. } = of_packages(dir.path(), &Kernel::example()).unwrap();
        let targets: Vec<_> = shown.iter().map(|(_, target)| target.to_str().unwrap()).collect();
        assert_eq!(targets, ["/usr/src/linux-headers-6.1", "/usr/lib/linux-kbuild-6"]);
        assert_eq!(build, Path::new(targets[0]));
        assert!(shown.iter().all(|(source, _)| source.is_dir()));
    }
}
