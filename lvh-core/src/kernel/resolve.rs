use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::image::payload::{self, Extracted};
use super::modules::built;
use super::pinning::Pinning;
use super::sources::local::{self, LocalKernel, LocalModules};
use super::sources::{from_git, from_tarball, from_web};
use super::stamp::{digest, stamp};
use super::wanted::Wanted;
use super::{
    DebSource, FileSource, GitSource, Kernel, KernelRelease, KernelSource, OciSource, TarballSource, deb, oci,
};
use crate::machine::on_a_thread;
use crate::store::{Entry, Key, Store};
use crate::{Arch, Error, ErrorKind, Event, Events, Result};

/// Turns `source` into files on disk, fetching them where the store does not have them yet. `name` is what the user
/// calls the kernel.
///
/// A Debian package, or a branch of a git repository, is resolved once and remembered: the next call asks neither apt
/// nor the network, until [`update_blocking`]. Any number of processes may ask at once; one works, the others wait for it.
///
/// # Errors
/// When the source names nothing, cannot be fetched, or holds no kernel.
pub async fn resolve(name: &str, source: &KernelSource, store: &Store, events: &Events) -> Result<Kernel> {
    let (name, source, store, events) = (name.to_owned(), source.clone(), store.clone(), events.clone());
    on_a_thread("lvh-kernel", move || resolve_blocking(&name, &source, &store, &events)).await
}

/// As [`resolve`], for callers without a runtime.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_blocking(name: &str, source: &KernelSource, store: &Store, events: &Events) -> Result<Kernel> {
    run(name, source, store, events, false)
}

/// As [`resolve_blocking`], but asks the archive or remote again what a suite or a branch stands for, unless names are locked.
///
/// # Errors
/// As [`resolve`].
pub fn update_blocking(name: &str, source: &KernelSource, store: &Store, events: &Events) -> Result<Kernel> {
    // What an image's tag stood for is remembered until the registry has answered.
    if !store.is_locked() && !matches!(source, KernelSource::Oci(_)) {
        forget(source, store)?;
    }
    run(name, source, store, events, true)
}

fn run(name: &str, source: &KernelSource, store: &Store, events: &Events, newest: bool) -> Result<Kernel> {
    let (watched, worked) = watch(events);
    let subject = format!("kernel `{name}`");
    let pinning = Pinning::of(name, source, store);
    let pin = pinning.as_ref().map_or(Ok(None), |pinning| pinning.pin(newest))?;
    let records = pin.is_none() && pinning.as_ref().is_some_and(Pinning::records);
    let newest = newest && pin.is_none() && !store.is_locked();
    let wanted = Wanted { name, subject: &subject, store, events: &watched, newest, pin: pin.as_deref(), records };
    let resolver = Resolver(wanted, pinning);
    let kernel = match source {
        KernelSource::Deb(source) => resolver.deb(source),
        KernelSource::Git(source) => resolver.git(source),
        KernelSource::Tarball(source) => resolver.tarball(source),
        KernelSource::File(source) => resolver.file(source),
        KernelSource::Oci(source) => resolver.oci(source),
        KernelSource::Path(path) => local::at(path).and_then(|found| resolver.local(found)),
        KernelSource::Host => local::running().and_then(|found| resolver.local(found)),
    };
    store.take_notes().into_iter().for_each(|note| events.note(note));
    let kernel = kernel.map_err(|error| error.about("kernel", name))?;
    if worked.load(Ordering::Relaxed) {
        events.send(Event::Done { subject, result: kernel.release.to_string() });
    }
    Ok(kernel)
}

/// The kernel in the file `path` as it lies there, with the configuration and the modules that are found beside it: nothing of it
/// is unpacked.
///
/// # Errors
/// It is no kernel; those of reading.
pub fn look_at(path: &Path, store: &Store) -> Result<Kernel> {
    let local = local::at(path)?;
    let (modules_key, modules, in_use) = gathered(&local, store)?;
    Ok(Kernel {
        in_use,
        name: path.display().to_string(),
        identity: local.image.display().to_string(),
        key: Key::of(["seen", &stamp(&local.image), &modules_key]).to_string(),
        arch: local.arch,
        release: local.release,
        vmlinux: None,
        config: local.config,
        modules,
        image: local.image,
    })
}

/// Its modules in one tree, and what tells them from others.
fn gathered(local: &LocalKernel, store: &Store) -> Result<(String, Option<PathBuf>, Vec<Entry>)> {
    Ok(match &local.modules {
        LocalModules::None => (String::new(), None, Vec::new()),
        LocalModules::Installed(dir) => (installed_stamp(dir), Some(dir.clone()), Vec::new()),
        LocalModules::Built(root) => {
            let gathered = built::gather(root, &local.release, store)?;
            gathered.map_or_else(Default::default, |(key, dir, entry)| (key.to_string(), Some(dir), vec![entry]))
        }
    })
}

/// `events`, and whether any was sent: what is at hand already is not worth a word.
fn watch(events: &Events) -> (Events, Arc<AtomicBool>) {
    let (events, worked) = (events.clone(), Arc::new(AtomicBool::new(false)));
    let seen = worked.clone();
    let watched = Events::new(move |event| {
        seen.store(true, Ordering::Relaxed);
        events.send(event);
    });
    (watched, worked)
}

/// Forgets what a suite or a branch resolved to, so that the next [`resolve`] asks the archive or remote again; says whether it was known.
///
/// # Errors
/// When the store cannot be written.
pub fn forget(source: &KernelSource, store: &Store) -> Result<bool> {
    match source {
        KernelSource::Deb(source) => store.forget(&deb::question(source, Arch::HOST)),
        KernelSource::Git(source) => store.forget(&from_git::question(source, store)),
        KernelSource::Oci(source) => store.forget(&oci::question(source)),
        // A digest stands for one thing for ever.
        KernelSource::Tarball(_) | KernelSource::File(_) | KernelSource::Path(_) | KernelSource::Host => Ok(false),
    }
}

struct Resolver<'a>(Wanted<'a>, Option<Pinning<'a>>);

impl Resolver<'_> {
    fn deb(&self, source: &DebSource) -> Result<Kernel> {
        let deb = deb::resolve(&self.0, source, Arch::HOST)?;
        self.record(&deb.packages);
        self.stored(deb.key, deb.identity, deb.release, &deb.entry)
    }

    fn git(&self, source: &GitSource) -> Result<Kernel> {
        let in_place = if self.0.newest { None } else { from_git::built_in_place(source, self.0.store) };
        if let Some(found) = in_place {
            return self.local(found);
        }
        let built = from_git::resolve(&self.0, source)?;
        self.record(&from_git::pin(&built.commit));
        self.stored(built.key, built.identity, built.release, &built.entry)
    }

    fn record(&self, resolved: &[String]) {
        if let (true, Some(pinning)) = (self.0.records, &self.1) {
            pinning.record(resolved, self.0.events);
        }
    }

    fn tarball(&self, source: &TarballSource) -> Result<Kernel> {
        let built = from_tarball::resolve(&self.0, source)?;
        self.stored(built.key, built.identity, built.release, &built.entry)
    }

    fn file(&self, source: &FileSource) -> Result<Kernel> {
        let entry = from_web::fetch(&self.0, source)?;
        let kernel = local::at(&entry.path().join("kernel")).and_then(|found| self.local(found))?;
        let sha256 = source.sha256.as_ref().map(ToString::to_string).unwrap_or_default();
        let in_use = kernel.in_use.into_iter().chain([entry]).collect();
        Ok(Kernel { identity: format!("{} sha256:{sha256}", source.url), in_use, ..kernel })
    }

    fn oci(&self, source: &OciSource) -> Result<Kernel> {
        let fetched = oci::resolve(&self.0, source, oci::What::Kernel)?;
        self.record(&[oci::pin(&fetched.digest)]);
        let kernel = self.local(local::at(fetched.entry.path())?)?;
        let in_use = kernel.in_use.into_iter().chain([fetched.entry]).collect();
        Ok(Kernel { identity: fetched.identity, key: fetched.key.to_string(), in_use, ..kernel })
    }

    /// The kernel that an entry of the store holds.
    fn stored(&self, key: Key, identity: String, release: KernelRelease, entry: &Entry) -> Result<Kernel> {
        let image = entry.path().join("vmlinuz");
        let existing = |path: PathBuf| path.exists().then_some(path);
        let extracted = self.extract(&image, &key)?;
        Ok(Kernel {
            name: self.0.name.to_owned(),
            identity,
            key: key.to_string(),
            config: existing(entry.path().join("config")).or(extracted.config),
            modules: existing(entry.path().join("lib/modules").join(release.as_str())),
            vmlinux: extracted.vmlinux,
            arch: Arch::HOST,
            release,
            image,
            in_use: extracted.entry.into_iter().chain([entry.clone()]).collect(),
        })
    }

    fn local(&self, local: LocalKernel) -> Result<Kernel> {
        let digest = digest(&local.image, self.0.store, || Key::of_file(&local.image))?;
        let unpacked = if local.packed { Some(self.unpack(&local.image, &digest)?) } else { None };
        let image = unpacked.as_ref().map_or_else(|| local.image.clone(), |entry| entry.path().join("image"));
        let extracted = self.extract(&image, &digest)?;
        if extracted.vmlinux.is_none() && is_elf(&image) {
            return Err(no_entry(&local.image, local.arch));
        }
        let (modules_key, modules, in_use) = gathered(&local, self.0.store)?;
        Ok(Kernel {
            in_use: in_use.into_iter().chain(extracted.entry).chain(unpacked).collect(),
            name: self.0.name.to_owned(),
            identity: format!("{} sha256:{digest}", local.image.display()),
            key: Key::of(["local", digest.as_str(), &modules_key]).to_string(),
            config: local.config.or(extracted.config),
            vmlinux: extracted.vmlinux,
            arch: local.arch,
            release: local.release,
            image,
            modules,
        })
    }

    /// The entry with the `image` in the packed file `packed`, whose digest is `key`.
    fn unpack(&self, packed: &Path, key: &Key) -> Result<Entry> {
        let start = || self.0.events.step(self.0.subject, "unpacking the kernel image");
        self.0.store.populate("unpacked", key, &start, |staging| {
            start();
            let image = staging.entry().join("image");
            fs::write(&image, local::unpacked(packed)?).map_err(|e| Error::path("write", &image, e))
        })
    }

    fn extract(&self, image: &Path, key: &Key) -> Result<Extracted> {
        let start = || self.0.events.step(self.0.subject, "unpacking the kernel image");
        let tell = |reason: &str| {
            self.0.events.note(format!("{} starts by its own decompressor, which is slower: {reason}", self.0.subject));
        };
        payload::extracted(image, key, self.0.store, &start, &tell)
    }
}

fn is_elf(image: &Path) -> bool {
    let mut magic = [0; 4];
    fs::File::open(image).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

/// QEMU takes an ELF file for an ancient bzImage then; one of arm64 it starts where no memory is.
fn no_entry(image: &Path, arch: Arch) -> Error {
    let (lack, hint) = match arch {
        Arch::X86_64 => (" without a PVH entry", "name the bzImage, or build with CONFIG_PVH=y"),
        Arch::Aarch64 => (" of arm64", "name the Image, such as arch/arm64/boot/Image of a build tree"),
    };
    let message = format!("`{}` is an ELF kernel{lack}, which QEMU cannot start", image.display());
    Error::new(ErrorKind::Usage, message).with_hint(hint)
}

/// What changes when modules are installed into a tree: depmod writes its lists anew.
fn installed_stamp(dir: &Path) -> String {
    ["modules.order", "modules.builtin", "modules.dep"].map(|list| stamp(&dir.join(list))).join("\n")
}
