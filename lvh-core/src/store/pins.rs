//! `lvh.lock`: what the names in an `lvh.toml` stood for when they were resolved, so that they stand for the same elsewhere.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Lock;
use super::whole_file::replace;
use crate::{Error, ErrorKind, Result};

/// The layout of the file that we read and write.
const VERSION: i64 = 1;
/// What the file begins with.
const HEAD: &str = "\
# What the kernels and images of lvh.toml were resolved to, so that they are the same everywhere. Keep it with lvh.toml.
# lvh writes it; `lvh update` renews it.
";

/// What a name is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Named {
    /// A kernel.
    #[default]
    Kernel,
    /// An image.
    Image,
}

impl Named {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Image => "image",
        }
    }
}

/// What one name stood for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// What it is the name of.
    #[serde(skip)]
    pub what: Named,
    /// The name.
    pub name: String,
    /// The architecture, where the answer is another on each.
    pub arch: Option<String>,
    /// What it was resolved from, such as `git https://…/linux.git#master`.
    pub source: String,
    /// What that stood for, in words of the source's own, such as a commit.
    pub resolved: Vec<String>,
}

impl Pin {
    fn is_for(&self, what: Named, name: &str, arch: Option<&str>) -> bool {
        self.what == what && self.name == name && self.arch.as_deref() == arch
    }
}

/// The file, which need not exist.
#[derive(Debug, Clone)]
pub struct Pins(PathBuf);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(rename = "version")]
    _version: i64,
    #[serde(default)]
    kernel: Vec<Pin>,
    #[serde(default)]
    image: Vec<Pin>,
}

impl Pins {
    /// Its name, beside `lvh.toml`.
    pub const FILE_NAME: &str = "lvh.lock";

    /// The file beside `neighbour`.
    pub fn beside(neighbour: &Path) -> Self {
        Self(neighbour.with_file_name(Self::FILE_NAME))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// All that it holds.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or was written by a later lvh.
    pub fn all(&self) -> Result<Vec<Pin>> {
        match fs::read_to_string(&self.0) {
            Ok(text) => self.parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::path("read", &self.0, error)),
        }
    }

    /// What `name` stood for.
    ///
    /// # Errors
    /// As [`Pins::all`].
    pub fn find(&self, what: Named, name: &str, arch: Option<&str>) -> Result<Option<Pin>> {
        Ok(self.all()?.into_iter().find(|pin| pin.is_for(what, name, arch)))
    }

    /// Writes `pin` down, in place of what its name stood for.
    ///
    /// # Errors
    /// As [`Pins::all`], and when it cannot be written.
    pub fn set(&self, pin: &Pin) -> Result<()> {
        self.change(|pins| {
            pins.retain(|known| !known.is_for(pin.what, &pin.name, pin.arch.as_deref()));
            pins.push(pin.clone());
        })
    }

    /// Forgets what `keep` does not know.
    ///
    /// # Errors
    /// As [`Pins::set`].
    pub fn retain(&self, keep: impl Fn(&Pin) -> bool) -> Result<()> {
        self.change(|pins| pins.retain(|pin| keep(pin)))
    }

    /// One process at a time reads, changes and writes it; a reader sees the old file or the new one.
    fn change(&self, change: impl FnOnce(&mut Vec<Pin>)) -> Result<()> {
        let parent = self.0.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The directory itself is locked, so that no other file of ours appears beside the user's.
        let _alone = Lock::directory(parent, &|| {})?;
        let before = self.all()?;
        let mut pins = before.clone();
        change(&mut pins);
        pins.sort();
        if pins == before {
            return Ok(());
        }
        self.write(parent, &text_of(&pins)).map_err(|error| Error::path("write", &self.0, error))
    }

    fn write(&self, parent: &Path, text: &str) -> io::Result<()> {
        let new = parent.join(format!(".{}.new", Self::FILE_NAME));
        replace(&self.0, &new, text)?;
        File::open(parent)?.sync_all()
    }

    fn parse(&self, text: &str) -> Result<Vec<Pin>> {
        let table: toml::Table = toml::from_str(text).map_err(|error| self.damaged(text, &error))?;
        match table.get("version").and_then(toml::Value::as_integer) {
            Some(VERSION) => {}
            Some(version) if version > VERSION => return Err(self.too_new(version)),
            _ => {
                let message = format!("`{}` is damaged: it has no `version = {VERSION}`", self.0.display());
                return Err(Error::new(ErrorKind::Usage, message).with_hint(MEND));
            }
        }
        let content: Content = toml::from_str(text).map_err(|error| self.damaged(text, &error))?;
        let images = content.image.into_iter().map(|pin| Pin { what: Named::Image, ..pin });
        let pins: Vec<Pin> = content.kernel.into_iter().chain(images).collect();
        // As where both sides of a merge have added it.
        let again = |at: usize| {
            let Pin { what, name, arch, .. } = &pins[at];
            pins[..at].iter().any(|pin| pin.is_for(*what, name, arch.as_deref()))
        };
        match (0..pins.len()).find(|&at| again(at)) {
            Some(at) => {
                let (path, what, name) = (self.0.display(), pins[at].what.as_str(), &pins[at].name);
                let message = format!("`{path}` is damaged: it has the {what} `{name}` twice");
                Err(Error::new(ErrorKind::Usage, message).with_hint(MEND))
            }
            None => Ok(pins),
        }
    }

    fn damaged(&self, text: &str, error: &toml::de::Error) -> Error {
        let before = error.span().map_or("", |span| &text[..span.start.min(text.len())]);
        let line = 1 + before.matches('\n').count();
        let message = format!("{}:{line}: the file is damaged: {}", self.0.display(), error.message());
        Error::new(ErrorKind::Usage, message).with_hint(MEND)
    }

    fn too_new(&self, version: i64) -> Error {
        let path = self.0.display();
        let message =
            format!("`{path}` was written by a later lvh: it is of version {version}, this lvh knows {VERSION}");
        Error::new(ErrorKind::Usage, message).with_hint("update lvh, or remove the file: `lvh update` writes another")
    }
}

/// How to get rid of damage.
const MEND: &str = "take it from version control, or remove it: `lvh update` writes another";

/// The file that holds `pins`.
fn text_of(pins: &[Pin]) -> String {
    let mut text = format!("{HEAD}version = {VERSION}\n");
    for pin in pins {
        text.push_str(&format!("\n[[{}]]\n", pin.what.as_str()));
        let arch = pin.arch.as_ref().map(|arch| ("arch", arch));
        for (key, value) in [Some(("name", &pin.name)), arch, Some(("source", &pin.source))].into_iter().flatten() {
            text.push_str(&format!("{key} = {}\n", quoted(value)));
        }
        let resolved: Vec<String> = pin.resolved.iter().map(|word| format!("    {},\n", quoted(word))).collect();
        text.push_str(&format!("resolved = [\n{}]\n", resolved.concat()));
    }
    text
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(name: &str, arch: Option<&str>, resolved: &[&str]) -> Pin {
        let resolved = resolved.iter().map(ToString::to_string).collect();
        let (name, arch, source) = (name.to_owned(), arch.map(str::to_owned), "git \"u\"\\#b\u{1}".to_owned());
        Pin { what: Named::Kernel, name, arch, source, resolved }
    }

    #[test]
    fn the_file_is_sorted_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let pins = Pins::beside(&dir.path().join("lvh.toml"));
        assert_eq!(pins.all().unwrap(), []);
        pins.set(&pin("b", None, &["1"])).unwrap();
        pins.set(&pin("a", Some("arm64"), &[])).unwrap();
        pins.set(&pin("a", Some("amd64"), &["x", "y"])).unwrap();
        let text = fs::read_to_string(pins.path()).unwrap();
        let expected = format!(
            "{HEAD}version = 1\n\n[[kernel]]\nname = \"a\"\narch = \"amd64\"\nsource = \"git \\\"u\\\"\\\\#b\\u0001\"\n\
             resolved = [\n    \"x\",\n    \"y\",\n]\n\n[[kernel]]\nname = \"a\"\narch = \"arm64\"\n"
        );
        assert!(text.starts_with(&expected), "{text}");
        let find = |what, arch| pins.find(what, "a", arch).unwrap();
        assert_eq!(find(Named::Kernel, Some("amd64")), Some(pin("a", Some("amd64"), &["x", "y"])));
        assert_eq!((find(Named::Kernel, None), find(Named::Image, Some("amd64"))), (None, None));
        let image = Pin { what: Named::Image, ..pin("a", None, &["z"]) };
        pins.set(&image).unwrap();
        assert_eq!(find(Named::Image, None), Some(image));
        assert!(fs::read_to_string(pins.path()).unwrap().contains("\n[[image]]\nname = \"a\"\n"));
        let written = || fs::metadata(pins.path()).unwrap().modified().unwrap();
        let before = written();
        pins.set(&pin("b", None, &["1"])).unwrap();
        assert_eq!(written(), before, "nothing new, nothing written");
        pins.retain(|pin| pin.name == "b").unwrap();
        assert_eq!(pins.all().unwrap(), [pin("b", None, &["1"])]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no other file stands beside it");
    }

    #[test]
    fn what_cannot_be_written_leaves_no_half() {
        let dir = tempfile::tempdir().unwrap();
        let pins = Pins::beside(&dir.path().join("lvh.toml"));
        fs::create_dir(pins.path()).unwrap();
        assert!(pins.write(dir.path(), "text").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_lock_file_of_ours_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let pins = Pins::beside(&dir.path().join("lvh.toml"));
        let check = |text: &str, expected: &str| {
            fs::write(pins.path(), text).unwrap();
            for report in [pins.all().unwrap_err().report(), pins.set(&pin("a", None, &[])).unwrap_err().report()] {
                let report = report.replace(&dir.path().display().to_string(), "D");
                assert!(report.contains(expected) && report.contains("hint: "), "{report}");
            }
            assert_eq!(fs::read_to_string(pins.path()).unwrap(), text, "it stays as it is");
        };
        check(
            "version = 2\nkernels = {}",
            "`D/lvh.lock` was written by a later lvh: it is of version 2, this lvh knows 1",
        );
        check("", "`D/lvh.lock` is damaged: it has no `version = 1`");
        let a = "[[kernel]]\nname = 'a'\narch = 'amd64'\nsource = ''\nresolved = []\n";
        check(&format!("version = 1\n{a}{a}"), "`D/lvh.lock` is damaged: it has the kernel `a` twice");
        check("version = 1\n<<<<<<< HEAD\n", "D/lvh.lock:2: the file is damaged: ");
        check("version = 1\n[[kernel]]\nname = 'a'\n", "D/lvh.lock:2: the file is damaged: missing field `source`");
        check("version = 1\n[[kernel]]\nname = 'a'\nsource = ''\nresolved = []\nx = 1", "unknown field `x`");
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let dir = tempfile::tempdir().unwrap();
        let toml = dir.path().join("lvh.toml");
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let pins = Pins::beside(&toml);
                scope.spawn(move || {
                    (0..5).for_each(|count| pins.set(&pin(&format!("{thread}-{count}"), None, &[])).unwrap());
                });
            }
        });
        assert_eq!(Pins::beside(&toml).all().unwrap().len(), 40);
    }
}
