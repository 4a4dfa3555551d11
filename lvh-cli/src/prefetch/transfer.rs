//! Kernels from one data directory to another, as an OCI layout: the entries of the store that they are in, and what names resolved
//! to them. An entry's name is the digest of what it was made of; the layout's digests guard its bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use lvh_core::store::{Key, Staging};
use lvh_core::{Kernel, Store};
use lvh_oci::{BlobStore, Content, Digest, Limits, Options, Pack, Platform, Source};

/// The image's name in the layout.
const TAG: &str = "lvh-store";
/// Where the entries are in it, as in the data directory.
const STORE: &str = "store";
/// Where answers to mutable names are.
const RESOLVED: &str = "resolved";

/// An entry of the store: its kind and its key.
type EntryName = (String, Key);

/// Writes the store's entries of `kernels` into the layout `dir`, in the place of what it had.
pub(super) fn export(kernels: &[Kernel], dir: &Path) -> anyhow::Result<Digest> {
    let mut contents = Vec::new();
    for (store, entries) in entries_of(kernels)? {
        let answers = answers(&store, &entries)?.into_iter().map(|question| (RESOLVED.to_owned(), question));
        for (kind, key) in entries.iter().cloned().chain(answers) {
            contents.push(Content { from: store.join(&kind).join(key.as_str()), to: format!("{STORE}/{kind}/{key}") });
        }
    }
    let pack = Pack { contents, platform: Platform::host(), annotations: BTreeMap::new(), tag: Some(TAG.to_owned()) };
    Ok(runtime()?.block_on(lvh_oci::pack(pack, dir))?.digest)
}

/// The entries that kernels are in, by store. A kernel that lies elsewhere cannot be taken along.
fn entries_of(kernels: &[Kernel]) -> anyhow::Result<BTreeMap<PathBuf, BTreeSet<EntryName>>> {
    let mut entries: BTreeMap<PathBuf, BTreeSet<EntryName>> = BTreeMap::new();
    for kernel in kernels {
        let files = [Some(&kernel.image), kernel.vmlinux.as_ref(), kernel.config.as_ref(), kernel.modules.as_ref()];
        for file in files.into_iter().flatten() {
            let Some((store, entry)) = entry_of(file) else {
                bail!(
                    "kernel `{}` is not in the data directory, but at `{}`: it is not exported",
                    kernel.name,
                    file.display()
                );
            };
            entries.entry(store).or_default().insert(entry);
        }
    }
    Ok(entries)
}

/// The store and the entry that a file is in: `…/store/KIND/KEY/…`.
fn entry_of(file: &Path) -> Option<(PathBuf, EntryName)> {
    let entry = file.ancestors().find(|dir| name(dir).and_then(Key::parse).is_some())?;
    let (kind, key) = (entry.parent()?, Key::parse(name(entry)?)?);
    let store = kind.parent().filter(|store| name(store) == Some(STORE))?;
    Some((store.to_owned(), (name(kind)?.to_owned(), key)))
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// The questions whose answer is one of the entries.
fn answers(store: &Path, entries: &BTreeSet<EntryName>) -> anyhow::Result<Vec<Key>> {
    let mut questions = Vec::new();
    let dir = store.join(RESOLVED);
    for file in fs::read_dir(&dir).with_context(|| format!("failed to read `{}`", dir.display()))? {
        let path = file?.path();
        let answer = fs::read_to_string(&path).ok().and_then(|text| Key::parse(text.trim_end()));
        if let (Some(question), Some(answer)) = (name(&path).and_then(Key::parse), answer)
            && entries.iter().any(|(_, key)| *key == answer)
        {
            questions.push(question);
        }
    }
    questions.sort();
    Ok(questions)
}

/// Brings what [`export`] wrote into `store`; how many entries are there now.
pub(super) fn import(dir: &Path, store: &Store) -> anyhow::Result<usize> {
    let scratch =
        tempfile::tempdir_in(store.state("import")?).context("failed to make a directory in the data directory")?;
    let into = scratch.path().join("unpacked");
    let source = Source::Layout { dir: dir.to_owned(), tag: Some(TAG.to_owned()) };
    let blobs = BlobStore::open(scratch.path().join("blobs"))?;
    runtime()?.block_on(async {
        let image = lvh_oci::pull(&source, Platform::host(), &blobs, &Options::from_env(), &|_| ()).await?;
        image.unpack(STORE, &into, Limits::default()).await
    })?;
    let mut count = 0;
    for (kind, key, path) in unpacked(&into)? {
        if kind != RESOLVED {
            let move_in = |staging: &Staging| {
                moved(&path, &staging.entry()).map_err(|error| lvh_core::Error::path("move", &path, error))
            };
            store.populate(&kind, &key, &|| (), move_in)?;
            count += 1;
        }
    }
    // Once they are there.
    for (_, question, path) in unpacked(&into)?.into_iter().filter(|(kind, ..)| kind == RESOLVED) {
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
        let answer = Key::parse(text.trim_end()).with_context(|| format!("`{}` holds no digest", path.display()))?;
        store.remember(&question, &answer)?;
    }
    Ok(count)
}

/// Moves what is in one directory into another.
fn moved(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::rename(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// What is below `dir`, as `KIND/KEY`. Others may have written the layout: anything else is refused.
fn unpacked(dir: &Path) -> anyhow::Result<Vec<(String, Key, PathBuf)>> {
    let names = |dir: &Path| -> anyhow::Result<Vec<PathBuf>> {
        let read = fs::read_dir(dir).with_context(|| format!("failed to read `{}`", dir.display()))?;
        Ok(read.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?)
    };
    let mut found = Vec::new();
    for kind in names(dir)? {
        for path in names(&kind)? {
            let is_kind = |kind: &&str| KINDS.contains(kind) || *kind == RESOLVED;
            match (name(&kind).filter(is_kind), name(&path).and_then(Key::parse)) {
                (Some(kind), Some(key)) => found.push((kind.to_owned(), key, path)),
                _ => bail!("the layout was not written by `lvh prefetch --export`: it has `{}`", path.display()),
            }
        }
    }
    Ok(found)
}

/// The kinds of entries that kernels are in.
const KINDS: [&str; 7] = ["built-modules", "deb-kernel", "file", "git-kernel", "oci-kernel", "unpacked", "vmlinux"];

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start a runtime")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_in_entries() {
        let key = "0123456789abcdef".repeat(4);
        let check = |file: &str, expected: Option<(&str, &str)>| {
            let found = entry_of(Path::new(&file.replace("KEY", &key)));
            let found = found.as_ref().map(|(store, (kind, _))| (store.to_str().unwrap(), kind.as_str()));
            assert_eq!(found, expected, "{file}");
        };
        check("/d/store/deb-kernel/KEY/boot/vmlinuz", Some(("/d/store", "deb-kernel")));
        check("/d/store/vmlinux/KEY", Some(("/d/store", "vmlinux")));
        check("/home/u/linux/vmlinux", None);
        check("/d/elsewhere/vmlinux/KEY/x", None);
    }
}
