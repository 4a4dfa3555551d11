use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// A SHA-256 in lower-case hex: the name of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// The digest of `parts` in this order; each counts with its length, so that `["ab"]` and `["a", "b"]` differ.
    pub fn of<I: IntoIterator<Item: AsRef<str>>>(parts: I) -> Self {
        let parts: Vec<_> = parts.into_iter().collect();
        Self::of_bytes(parts.iter().map(|part| part.as_ref().as_bytes()))
    }

    /// As [`Key::of`], of any bytes.
    pub fn of_bytes<'b>(parts: impl IntoIterator<Item = &'b [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hex(&hash.finalize()))
    }

    /// The digest of a file's bytes, as `sha256sum` prints it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of_file(path: &Path) -> Result<Self> {
        let read = |e| Error::path("read", path, e);
        let mut file = File::open(path).map_err(read)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer).map_err(read)? {
                0 => return Ok(Self(hex(&hash.finalize()))),
                n => hash.update(&buffer[..n]),
            }
        }
    }

    /// Takes 64 hex digits, as read back from a file.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        hex.then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_delimited() {
        assert_ne!(Key::of(["ab"]), Key::of(["a", "b"]));
        assert_ne!(Key::of(["a", "b"]), Key::of(["b", "a"]));
        assert_eq!(Key::of(["a"]), Key::of([String::from("a")]));
    }

    #[test]
    fn parse_takes_only_digests() {
        let key = Key::of(["x"]);
        assert_eq!(Key::parse(key.as_str()), Some(key));
        for bad in ["", "../../../etc/passwd", &"A".repeat(64), &"a".repeat(63)] {
            assert_eq!(Key::parse(bad), None, "{bad}");
        }
    }
}
