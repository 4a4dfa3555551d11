use std::fs;
use std::path::{Path, PathBuf};

use super::apt::{Apt, Archive};
use super::package::{self, Package};
use super::{mirror, unpack};
use crate::kernel::{DebSource, KernelRelease};
use crate::store::{Entry, Key, Store};
use crate::{Arch, Error, ErrorKind, Event, Events, Result};

/// The kind of the store's entries for unpacked kernel packages.
const KIND: &str = "deb-kernel";
/// Part of each entry's key: to be raised when what an entry holds changes.
const LAYOUT: &str = "1";
/// Where distributions put Debian's archive keyring, relative to the root; the first that is there counts.
pub(crate) const KEYRINGS: [&str; 2] =
    ["usr/share/keyrings/debian-archive-keyring.gpg", "usr/share/keyrings/debian-archive-keyring.pgp"];

/// An unpacked kernel package.
#[derive(Debug)]
pub(in crate::kernel) struct DebKernel {
    pub(in crate::kernel) key: Key,
    pub(in crate::kernel) identity: String,
    pub(in crate::kernel) release: KernelRelease,
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
pub(in crate::kernel) fn resolve(
    subject: &str,
    source: &DebSource,
    arch: Arch,
    store: &Store,
    events: &Events,
) -> Result<DebKernel> {
    let question = question(source, arch);
    let waiting = || events.step(subject, "waiting for another process that fetches it");
    if let Some(kernel) = known(store, &question, &waiting)? {
        return Ok(kernel);
    }
    let _turn = store.lock(&format!("resolve-{question}"), &waiting)?;
    if let Some(kernel) = known(store, &question, &waiting)? {
        return Ok(kernel);
    }
    let fetch = Fetch { subject, source, store, events };
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
    Ok(DebKernel { key, identity, release, entry })
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
        let waiting = || self.step(format!("waiting for another process that reads the suite `{suite}`"));
        let apt = Apt::open(self.store, &archive, &waiting)?;
        self.step(format!("reading the package index of `{suite}`"));
        apt.update()?;
        let first = apt.show(asked, version.as_deref())?;
        let packages = package::follow(first, |name, version| apt.show(name, Some(version)))?;
        let identity = package::main_package(&packages, asked)?.identity();
        let key = Key::of(
            ["deb-kernel", LAYOUT, arch.debian()]
                .map(str::to_owned)
                .into_iter()
                .chain(packages.iter().map(Package::identity)),
        );
        let entry = self.store.populate(KIND, &key, &waiting, |staging| {
            self.download(&apt, &packages, &staging.scratch())?;
            // Others may read the suite while this one unpacks.
            drop(apt);
            self.step("unpacking".to_owned());
            unpack::unpack(&staging.scratch(), &staging.entry(), &identity)
        })?;
        load(key, entry)
    }

    fn download(&self, apt: &Apt, packages: &[Package], into: &Path) -> Result<()> {
        let total = packages.iter().map(|package| package.size).sum();
        let mut last = None;
        apt.download(packages, into, &mut || {
            let done = bytes_in(into);
            if last.replace(done) != Some(done) {
                self.events.send(Event::Progress {
                    subject: self.subject.to_owned(),
                    step: "downloading".to_owned(),
                    done,
                    total: Some(total),
                });
            }
        })
    }

    fn step(&self, step: String) {
        self.events.step(self.subject, step);
    }
}

fn bytes_in(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

fn offline(package: &str, suite: &str) -> Error {
    let message = format!("the package `{package}` of `{suite}` is not in the data directory, and lvh is offline");
    Error::new(ErrorKind::Artifact, message).with_hint("run once without LVH_OFFLINE=1")
}

fn archive(source: &DebSource, arch: Arch) -> Result<Archive> {
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
