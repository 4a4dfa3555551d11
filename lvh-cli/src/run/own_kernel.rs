//! The kernel that an image's boot loader would start, for lvh to start it: then its initial RAM disk brings lvh's agent.

use std::fs;
use std::path::{Path, PathBuf};

use lvh_core::run::Image;
use lvh_core::store::{Entry, Key, Staging};
use lvh_core::{Error, ErrorKind, KernelRelease, Result, Store};

use super::file_system::FileSystem;

/// The boot loader's configuration, in images of lvh and of the lvh in Go.
const CONFIGURATION: &str = "/extlinux.conf";
/// More than all modules of a kernel have: many names may lead to one file.
const MOST: u64 = 4 << 30;

/// A copy of it, with its configuration and its modules beside it.
#[derive(Debug)]
pub(super) struct OwnKernel {
    pub(super) file: PathBuf,
    /// The words that the boot loader has for it.
    pub(super) words: Vec<String>,
    /// Keeps the copy.
    _in_use: Entry,
}

impl OwnKernel {
    /// That of `image`, copied to the store; none where its boot loader is not configured as in images of lvh.
    ///
    /// # Errors
    /// The image or what its boot loader names cannot be read; the store cannot be written.
    pub(super) fn of(image: &Image, store: &Store) -> Result<Option<Self>> {
        let Some(system) = FileSystem::open(image)? else { return Ok(None) };
        let Ok(configuration) = system.read(CONFIGURATION) else { return Ok(None) };
        let Some(choice) = Choice::of(&String::from_utf8_lossy(&configuration)) else { return Ok(None) };
        let kernel = system.read(&choice.kernel)?;
        let path = system.canonical(&choice.kernel).unwrap_or_default();
        let release = path.rsplit_once("/vmlinuz-").and_then(|(_, release)| KernelRelease::parse(release));
        let name = release.as_ref().map_or("vmlinuz".to_owned(), |release| format!("vmlinuz-{release}"));
        let beside = |file: String| release.as_ref().and_then(|_| system.read(&file).ok());
        let part =
            |name: &str| release.as_ref().map(|release| name.replace("RELEASE", release.as_str())).unwrap_or_default();
        // What depmod says of the modules stands for them.
        let [config, modules] = ["boot/config-RELEASE", "lib/modules/RELEASE"].map(part);
        let [has, listed] = [format!("/{config}"), format!("/{modules}/modules.dep")].map(beside);
        let parts =
            [name.as_bytes(), &kernel, has.as_deref().unwrap_or_default(), listed.as_deref().unwrap_or_default()];
        let entry = store.populate("image-kernel", &Key::of_bytes(parts), &|| {}, |staging| {
            write(staging, &format!("boot/{name}"), &kernel)?;
            has.iter().try_for_each(|has| write(staging, &config, has))?;
            let mut left = MOST;
            listed.iter().try_for_each(|_| copy(&system, staging, &modules, &mut left))
        })?;
        Ok(Some(Self { file: entry.path().join("boot").join(name), words: choice.words, _in_use: entry }))
    }
}

/// What the boot loader starts without being asked.
#[derive(Debug, Default, PartialEq, Eq)]
struct Choice {
    kernel: String,
    words: Vec<String>,
}

impl Choice {
    /// That of extlinux's configuration: of the label that `default` names, else of the first one. What another file may say
    /// (`include`) is left to the boot loader.
    fn of(configuration: &str) -> Option<Self> {
        let mut default = None;
        let mut labels: Vec<(&str, Self)> = Vec::new();
        for line in configuration.lines() {
            let (keyword, value) = line.trim().split_once(char::is_whitespace).unwrap_or_default();
            let value = value.trim();
            match (keyword.to_lowercase().as_str(), labels.last_mut()) {
                ("include", _) => return None,
                ("default", _) => default = Some(value),
                ("label", _) => labels.push((value, Self::default())),
                ("kernel" | "linux", Some((_, label))) => {
                    label.kernel = Path::new("/").join(value).display().to_string()
                }
                ("append", Some((_, label))) => label.words = words(value),
                _ => {}
            }
        }
        let chosen = labels.iter().position(|(name, _)| Some(*name) == default).unwrap_or(0);
        labels.into_iter().nth(chosen).map(|(_, label)| label).filter(|label| !label.kernel.is_empty())
    }
}

/// Those that count without the boot loader's initial RAM disk, whose part it is to look for a root by other names.
fn words(append: &str) -> Vec<String> {
    let counts = |word: &&str| match word.split_once('=') {
        Some(("initrd", _)) => false,
        Some(("root", device)) => device.starts_with("/dev/"),
        _ => true,
    };
    append.split_whitespace().filter(counts).map(str::to_owned).collect()
}

/// Copies a directory of the image, without links.
fn copy(system: &FileSystem, staging: &Staging, dir: &str, left: &mut u64) -> Result<()> {
    let (files, dirs) = system.list(&format!("/{dir}"));
    for name in files {
        let bytes = system.read(&format!("/{dir}/{name}"))?;
        *left = left.checked_sub(bytes.len() as u64).ok_or_else(too_many)?;
        write(staging, &format!("{dir}/{name}"), &bytes)?;
    }
    dirs.into_iter().try_for_each(|name| copy(system, staging, &format!("{dir}/{name}"), left))
}

fn write(staging: &Staging, name: &str, bytes: &[u8]) -> Result<()> {
    let path = staging.entry().join(name);
    let make = || path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, bytes));
    make().map_err(|error| Error::path("write", &path, error))
}

fn too_many() -> Error {
    Error::new(ErrorKind::Artifact, "the modules of its kernel have more than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_loaders_choice_is_known() {
        let check = |configuration: &str, expected: Option<(&str, &[&str])>| {
            let choice = Choice::of(configuration);
            let choice = choice.as_ref().map(|choice| (choice.kernel.as_str(), &choice.words[..]));
            let expected =
                expected.map(|(kernel, words)| (kernel, words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>()));
            assert_eq!(choice, expected.as_ref().map(|(kernel, words)| (*kernel, &words[..])), "{configuration}");
        };
        let of_go = "\ndefault linux\ntimeout 0\n\nlabel linux\nkernel /vmlinuz\nappend initrd=initrd.img root=/dev/vda rw console=ttyS0\n";
        check(of_go, Some(("/vmlinuz", &["root=/dev/vda", "rw", "console=ttyS0"])));
        let two = "LABEL a\n  LINUX boot/a\nLABEL b\n\tKERNEL  /b \n APPEND root=UUID=1 quiet\nDEFAULT b\n";
        check(two, Some(("/b", &["quiet"])));
        check(&two.replace("DEFAULT b", "DEFAULT c"), Some(("/boot/a", &[])));
        for none in [
            "",
            "default linux\n",
            "label a\nappend x\n",
            "kernel /vmlinuz\n",
            "label a\nkernel\n",
            &format!("include x\n{two}"),
        ] {
            check(none, None);
        }
    }
}
