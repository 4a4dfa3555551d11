use std::fs;
use std::path::{Path, PathBuf};

use super::apt::{Apt, Archive};
use super::package::{self, Package};
use super::{mirror, unpack};
use crate::kernel::wanted::Wanted;
use crate::kernel::{DebSource, KernelRelease};
use crate::store::{Entry, Key, Store};
use crate::{Arch, Error, ErrorKind, Event, Events, Result};

/// The kind of the store's entries for unpacked kernel packages.
const KIND: &str = "deb-kernel";
/// Part of each entry's key: to be raised when what an entry holds changes.
const LAYOUT: &str = "1";
/// The file of an entry that names all of its packages.
const PACKAGES: &str = "packages";
/// Where distributions put Debian's archive keyring, relative to the root; the first that is there counts.
pub(crate) const KEYRINGS: [&str; 2] =
    ["usr/share/keyrings/debian-archive-keyring.gpg", "usr/share/keyrings/debian-archive-keyring.pgp"];

/// An unpacked kernel package.
#[derive(Debug)]
pub(in crate::kernel) struct DebKernel {
    pub(in crate::kernel) key: Key,
    pub(in crate::kernel) identity: String,
    pub(in crate::kernel) release: KernelRelease,
    /// All packages that it is made of, as `lvh.lock` has them; none where an earlier lvh did not write them down.
    pub(in crate::kernel) packages: Vec<String>,
    pub(in crate::kernel) entry: Entry,
}

/// The question that the store remembers the answer to.
pub(in crate::kernel) fn question(source: &DebSource, arch: Arch) -> Key {
    let DebSource { package, suite, mirror, keyring, version, allow_expired } = source;
    let keyring = keyring.as_deref().map(Path::to_string_lossy).unwrap_or_default();
    let optional = |text: &Option<String>| text.clone().unwrap_or_default();
    Key::of([
        "deb",
        LAYOUT,
        package,
        suite,
        arch.debian(),
        &optional(mirror),
        &keyring,
        &optional(version),
        &allow_expired.to_string(),
    ])
}

/// The kernel that `source` was resolved to, from the store; else from the archive. Blocks.
pub(in crate::kernel) fn resolve(wanted: &Wanted<'_>, source: &DebSource, arch: Arch) -> Result<DebKernel> {
    let Wanted { subject, store, events, .. } = *wanted;
    let fetch = Fetch { subject, source, store, events };
    if let Some(pin) = wanted.pin {
        return fetch.pinned(arch, pin, wanted.name);
    }
    let question = question(source, arch);
    let waiting = || events.step(subject, "waiting for another fetch of it");
    // Without the network, better a kernel that cannot be pinned than none.
    let will_do = |kernel: &DebKernel| !wanted.records || !kernel.packages.is_empty() || store.is_offline();
    let known = || known(store, &question, &waiting).map(|kernel| kernel.filter(will_do));
    if let Some(kernel) = known()? {
        return Ok(kernel);
    }
    let _turn = store.lock(&format!("resolve-{question}"), &waiting)?;
    if let Some(kernel) = known()? {
        return Ok(kernel);
    }
    let kernel = fetch.run(arch)?;
    store.remember(&question, &kernel.key)?;
    Ok(kernel)
}

fn known(store: &Store, question: &Key, waiting: &dyn Fn()) -> Result<Option<DebKernel>> {
    let Some(key) = store.recall(question) else { return Ok(None) };
    let Some(entry) = store.get(KIND, &key, waiting)? else { return Ok(None) };
    match load(key.clone(), entry) {
        Ok(kernel) => Ok(Some(kernel)),
        Err(damage) => {
            store.discard_damaged(KIND, &key, &damage.report())?;
            Ok(None)
        }
    }
}

fn load(key: Key, entry: Entry) -> Result<DebKernel> {
    let read = |name| {
        let path = entry.path().join(name);
        fs::read_to_string(&path).map_err(|e| Error::path("read", &path, e))
    };
    let (identity, release) = (read("identity")?, KernelRelease::new(read("release")?));
    let packages = read(PACKAGES).unwrap_or_default().lines().map(str::to_owned).collect();
    Ok(DebKernel { key, identity, release, packages, entry })
}

/// The digest of what is made of `packages`.
fn key_of(packages: &[Package], arch: Arch) -> Key {
    let head = ["deb-kernel", LAYOUT, arch.debian()].map(str::to_owned);
    Key::of(head.into_iter().chain(packages.iter().map(Package::identity)))
}

/// One run against the archive.
struct Fetch<'a> {
    subject: &'a str,
    source: &'a DebSource,
    store: &'a Store,
    events: &'a Events,
}

impl Fetch<'_> {
    fn run(&self, arch: Arch) -> Result<DebKernel> {
        let DebSource { package: asked, suite, version, .. } = self.source;
        if self.store.is_offline() {
            return Err(offline(asked, suite));
        }
        let archive = archive(self.source, arch)?;
        let apt = self.apt(&archive)?;
        self.step(format!("reading the package index of `{suite}`"));
        apt.update()?;
        let first = apt.show(asked, version.as_deref())?;
        let packages = package::follow(first, |name, version| apt.show(name, Some(version)))?;
        self.populate(&packages, &key_of(&packages, arch), |into, tick| {
            // Others may read the suite while this one unpacks.
            let apt = apt;
            apt.download(&packages, into, tick)
        })
    }

    /// One at a time.
    fn apt(&self, archive: &Archive) -> Result<Apt> {
        let waiting = || self.step(format!("waiting for another fetch from the suite `{}`", self.source.suite));
        Apt::open(self.store, archive, &waiting)
    }

    /// The kernel of the packages that `lvh.lock` names, whatever the suite has now.
    fn pinned(&self, arch: Arch, pin: &[String], name: &str) -> Result<DebKernel> {
        let packages: Option<Vec<Package>> = pin.iter().map(|pin| Package::parse_pin(pin)).collect();
        let packages = packages.filter(|packages| !packages.is_empty()).ok_or_else(|| {
            let message = format!("{}: `lvh.lock` names no packages: `{}`", self.subject, pin.join("`, `"));
            Error::new(ErrorKind::Usage, message).with_hint(format!("`lvh update {name}` writes it anew"))
        })?;
        let key = key_of(&packages, arch);
        let waiting = || self.step("waiting for another fetch of it".to_owned());
        if let Some(entry) = self.store.get(KIND, &key, &waiting)? {
            return load(key, entry);
        }
        let DebSource { package, suite, .. } = self.source;
        if self.store.is_offline() {
            return Err(offline(package, suite));
        }
        let archive = archive(self.source, arch)?;
        let apt = self.apt(&archive)?;
        self.populate(&packages, &key, |into, tick| {
            packages.iter().enumerate().try_for_each(|(number, package)| {
                let uri = format!("{}/{}", archive.mirror, package.file);
                let to = into.join(format!("{number}.deb"));
                apt.fetch(&uri, &package.sha256, &to, tick).map_err(|error| gone(name, package, error))
            })
        })
    }

    /// The kernel that is made of `packages`, which `download` brings to a directory.
    fn populate(
        &self,
        packages: &[Package],
        key: &Key,
        download: impl FnOnce(&Path, &mut dyn FnMut()) -> Result<()>,
    ) -> Result<DebKernel> {
        let identity = package::main_package(packages, &self.source.package)?.identity();
        let waiting = || self.step("waiting for another fetch of it".to_owned());
        let pins: Vec<String> = packages.iter().map(Package::pin).collect();
        let entry = self.store.populate(KIND, key, &waiting, |staging| {
            let (scratch, entry) = (staging.scratch(), staging.entry());
            self.step("downloading".to_owned());
            download(&scratch, &mut self.progress(packages, &scratch))?;
            self.step("unpacking".to_owned());
            unpack::unpack(&scratch, &entry, &identity)?;
            let path = entry.join(PACKAGES);
            fs::write(&path, pins.join("\n")).map_err(|e| Error::path("write", &path, e))
        })?;
        let kernel = load(key.clone(), entry)?;
        if kernel.packages.is_empty() {
            self.store.add_to(&kernel.entry, PACKAGES, &pins.join("\n"))?;
        }
        Ok(DebKernel { packages: pins, ..kernel })
    }

    /// Tells how much of `packages` is in the directory `into`, each time it is called.
    fn progress(&self, packages: &[Package], into: &Path) -> impl FnMut() {
        let total = packages.iter().map(|package| package.size).sum();
        let mut last = None;
        move || {
            let done = bytes_in(into);
            if last.replace(done) != Some(done) {
                self.events.send(Event::Progress {
                    subject: self.subject.to_owned(),
                    step: "downloading".to_owned(),
                    done,
                    total: Some(total),
                });
            }
        }
    }

    fn step(&self, step: String) {
        self.events.step(self.subject, step);
    }
}

fn bytes_in(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// The error for a pinned package that cannot be had.
fn gone(name: &str, package: &Package, cause: Error) -> Error {
    let message = format!("`{} {}`, which `lvh.lock` names, cannot be fetched", package.name, package.version);
    Error::new(ErrorKind::Artifact, message).with_source(cause).with_hint(format!(
        "archives drop old versions: set LVH_DEBIAN_MIRROR to one that has it, such as \
         https://snapshot.debian.org/archive/debian/DATE, or take the newest: `lvh update {name}`"
    ))
}

pub(super) fn offline(package: &str, suite: &str) -> Error {
    let message = format!("the package `{package}` of `{suite}` is not in the data directory, and lvh is offline");
    Error::new(ErrorKind::Artifact, message).with_hint("run once without LVH_OFFLINE=1")
}

pub(super) fn archive(source: &DebSource, arch: Arch) -> Result<Archive> {
    check_words(source)?;
    let mirror = match &source.mirror {
        Some(mirror) => mirror.trim_end_matches('/').to_owned(),
        None => mirror::of_this_machine()?,
    };
    let (suite, allow_expired) = (source.suite.clone(), source.allow_expired);
    Ok(Archive { mirror, suite, keyring: keyring(source)?, arch: arch.debian(), allow_expired })
}

/// Refuses values that would mean something else in a line of apt's configuration or on its command line.
fn check_words(source: &DebSource) -> Result<()> {
    let words = [
        ("deb", Some(source.package.as_str())),
        ("suite", Some(source.suite.as_str())),
        ("mirror", source.mirror.as_deref()),
        ("version", source.version.as_deref()),
    ];
    for (field, word) in words.iter().filter_map(|(field, word)| Some((field, (*word)?))) {
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '"';
        if word.is_empty() || word.starts_with('-') || word.contains(odd) {
            return Err(Error::new(ErrorKind::Usage, format!("`{word}` cannot be the `{field}` of a Debian kernel")));
        }
    }
    Ok(())
}

fn keyring(source: &DebSource) -> Result<PathBuf> {
    let keyring = source.keyring.clone().unwrap_or_else(|| {
        let known = KEYRINGS.map(|name| Path::new("/").join(name));
        known.iter().find(|path| path.is_file()).unwrap_or(&known[0]).clone()
    });
    let path = keyring.canonicalize().map_err(|e| {
        let error =
            Error::new(ErrorKind::Missing, format!("there is no keyring `{}`", keyring.display())).with_source(e);
        let hint = if source.keyring.is_none() { "apt install debian-archive-keyring" } else { "check `keyring`" };
        error.with_hint(hint)
    })?;
    if path.to_string_lossy().contains(char::is_whitespace) {
        let message = format!("the keyring's path `{}` holds white space, which apt does not take", path.display());
        return Err(Error::new(ErrorKind::Usage, message));
    }
    Ok(path)
}
