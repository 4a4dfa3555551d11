//! The programs of the host for a guest whose root is an image's, with their loader and libraries.
//!
//! An image has a C library of its own, or none. Where that has not all that the programs ask for, as lvh-init finds out,
//! copies of the programs take their places, which look for loader and libraries in a directory of the guest's. Such copies are
//! as large as the programs, so they are made once and kept.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::config::Share;
use crate::error::{Error, Result};
use crate::guest::protocol::{self, FileSource, KIT_LIBRARIES, KIT_LOADER, KIT_NEEDS};
use crate::kernel::stamp;
use crate::program::needs::Needs;
use crate::program::patch;
use crate::store::{Entry, Key, Store};
use crate::vm::root::rootfs::RootFs;
use crate::vm::spec::VmSpec;
use crate::vm::transport::share::{HOST, bytes};

/// The kind of the store's entries.
const KIND: &str = "programs";
/// Part of each entry's key: to be raised when what an entry holds changes.
const LAYOUT: &str = "1";
/// How many there are: each is as large as its programs.
const LIMIT: usize = 8;

/// Where it is in the initramfs of a guest that cannot see the host's files.
const PACKED: &str = "/lvh/kit";

/// Programs, and what they need: an entry of the store.
#[derive(Debug)]
pub(crate) struct Kit {
    entry: Entry,
    /// Those of the programs that have a copy, each with the copy's name.
    programs: Vec<(PathBuf, String)>,
}

impl Kit {
    /// That of the VM's programs; none where its root is no image's, or none of them is dynamic.
    ///
    /// # Errors
    /// One cannot be read, or its loader cannot say what it needs; the store cannot be written.
    pub(crate) fn prepare(spec: &VmSpec, store: &Store) -> Result<Option<Self>> {
        if !matches!(spec.root, RootFs::Disk { .. }) || spec.packed.is_empty() {
            return Ok(None);
        }
        let files: Vec<PathBuf> = spec.packed.iter().map(|program| file_of(spec, program)).collect();
        let entry = store.populate(KIND, &key(&files), &|| {}, |staging| fill(&staging.entry(), &files))?;
        store.prune(KIND, LIMIT)?;
        let named = spec.packed.iter().cloned().enumerate().map(|(index, program)| (program, index.to_string()));
        let programs: Vec<_> = named.filter(|(_, copy)| entry.path().join(copy).exists()).collect();
        Ok((!programs.is_empty()).then_some(Self { entry, programs }))
    }

    /// What of the host the guest must be shown for it.
    pub(crate) fn directory(&self) -> &Path {
        self.entry.path()
    }

    /// What lvh-init makes of it.
    pub(crate) fn on_the_wire(&self, share: Share) -> protocol::Kit {
        let source = match share {
            Share::Packed => FileSource::Initramfs { path: bytes(Path::new(PACKED)) },
            Share::Virtiofs | Share::NineP => {
                FileSource::Share { tag: HOST.to_owned(), path: bytes(self.entry.path()) }
            }
        };
        let programs = self.programs.iter().map(|(program, copy)| (bytes(Path::new(copy)), bytes(program))).collect();
        protocol::Kit { source, programs }
    }

    /// Its files, and where they are in an initramfs. What the programs need is not among them: there the copies are all that
    /// there is.
    pub(crate) fn packed(&self) -> Result<Vec<(PathBuf, PathBuf)>> {
        let libraries = self.entry.path().join("lib");
        let listed = fs::read_dir(&libraries).map_err(|error| Error::path("read", &libraries, error))?;
        let libraries = listed.flatten().map(|file| Path::new("lib").join(file.file_name()));
        let files = libraries.chain(self.programs.iter().map(|(_, copy)| PathBuf::from(copy)));
        Ok(files.map(|file| (self.entry.path().join(&file), Path::new(PACKED).join(&file))).collect())
    }

    /// Whether it holds a copy of the program.
    pub(crate) fn has(&self, program: &Path) -> bool {
        self.programs.iter().any(|(known, _)| known == program)
    }
}

/// The file that the guest is to see as this program.
fn file_of(spec: &VmSpec, program: &Path) -> PathBuf {
    let replaced = spec.replaced.as_ref().filter(|(original, _)| original == program);
    replaced.map_or(program, |(_, copy)| copy).to_owned()
}

/// What changes when the programs do, or the host's libraries.
fn key(programs: &[PathBuf]) -> Key {
    let libraries = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
    let parts = [LAYOUT.to_owned(), libraries, stamp(Path::new("/etc/ld.so.cache"))];
    Key::of(parts.into_iter().chain(programs.iter().map(|program| stamp(program))))
}

/// Makes the copies, in `dir`, of those of the programs that are dynamic.
fn fill(dir: &Path, programs: &[PathBuf]) -> Result<()> {
    let libraries = dir.join("lib");
    fs::create_dir(&libraries).map_err(|error| Error::path("create", &libraries, error))?;
    let mut wanted = BTreeMap::<String, Vec<String>>::new();
    for (index, program) in programs.iter().enumerate() {
        let Some(needs) = Needs::of(program)? else { continue };
        if !patched_copy(program, &dir.join(index.to_string()))? {
            continue;
        }
        copy(&needs.loader, &dir.join("lib").join(file_name(KIT_LOADER)))?;
        wanted.entry(needs.loader.to_string_lossy().into_owned()).or_default();
        for (name, path) in &needs.libraries {
            copy(path, &libraries.join(name))?;
            wanted.entry(name.clone()).or_default();
        }
        for (name, versions) in needs.versions {
            wanted.entry(name).or_default().extend(versions);
        }
    }
    let line = |(name, versions): (&String, &Vec<String>)| format!("{name} {}\n", versions.join(" "));
    let (file, text) = (dir.join(KIT_NEEDS), wanted.iter().map(line).collect::<String>());
    fs::write(&file, text).map_err(|error| Error::path("write", &file, error))
}

/// Makes the copy, unless the program has no room for what it must say.
fn patched_copy(program: &Path, to: &Path) -> Result<bool> {
    let content = fs::read(program).map_err(|error| Error::path("read", program, error))?;
    let Some(edits) = patch::edits(&content, KIT_LOADER, KIT_LIBRARIES) else { return Ok(false) };
    copy(program, to)?;
    let written = File::options()
        .write(true)
        .open(to)
        .and_then(|file| edits.iter().try_for_each(|edit| file.write_all_at(&edit.bytes, edit.at)));
    written.map_err(|error| Error::path("write", to, error)).map(|()| true)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).map_err(|error| Error::path("copy", from, error))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::DiskFormat;
    use crate::{Config, Kernel};

    #[test]
    fn a_kit_holds_what_dynamic_programs_need() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (program, script) = (std::env::current_exe().unwrap(), dir.path().join("script"));
        fs::write(&script, "#!/bin/sh\n").unwrap();
        let spec = |programs: &[&PathBuf]| {
            let root = RootFs::Disk { path: "/d".into(), format: DiskFormat::Raw };
            let programs = programs.iter().copied().cloned().collect();
            VmSpec::new(Kernel::example(), &Config::default()).root(root).packed(programs)
        };
        assert!(Kit::prepare(&spec(&[&script]), &store).unwrap().is_none());
        assert!(Kit::prepare(&spec(&[&program]).root(RootFs::Host), &store).unwrap().is_none());
        let kit = Kit::prepare(&spec(&[&script, &program]), &store).unwrap().unwrap();
        assert_eq!(kit.programs, [(program.clone(), "1".to_owned())]);
        assert!(kit.has(&program) && !kit.has(&script));
        let needs = fs::read_to_string(kit.directory().join(KIT_NEEDS)).unwrap();
        assert!(needs.starts_with('/') && needs.contains("\nlibc.so.6 GLIBC_"), "{needs}");
        let copy = kit.directory().join("1");
        assert_eq!(fs::metadata(&copy).unwrap().len(), fs::metadata(&program).unwrap().len());
        let files: Vec<PathBuf> = kit.packed().unwrap().into_iter().map(|(_, target)| target).collect();
        for file in ["lib/ld", "lib/libc.so.6", "1"] {
            assert!(files.contains(&Path::new(PACKED).join(file)), "{files:?}");
        }
    }
}
