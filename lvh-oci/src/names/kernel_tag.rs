use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// A tag of a published kernel, such as `6.12-main` or `bpf-next-20250123.013152`: version, dash, and `main` or `DIGITS.DIGITS`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelTag {
    version: String,
    release: String,
}

impl KernelTag {
    /// The kernel's version or branch, `6.12` or `bpf-next`: its directory below `data/kernels` in the image.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// `main`, or a date and time.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Where the kernel lies in the image.
    pub fn directory(&self) -> String {
        format!("data/kernels/{}", self.version)
    }
}

impl FromStr for KernelTag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.rsplit_once('-').filter(|(version, release)| is_version(version) && is_release(release));
        let Some((version, release)) = parts else {
            let expected = "VERSION-main or VERSION-DIGITS.DIGITS, such as `6.12-main`".to_owned();
            return Err(Error::Malformed { what: "tag of a kernel", text: text.to_owned(), expected });
        };
        Ok(Self { version: version.to_owned(), release: release.to_owned() })
    }
}

impl fmt::Display for KernelTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.version, self.release)
    }
}

/// It is a directory's name, and part of a tag (OCI distribution specification, "Pulling manifests").
fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_release(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text == "main" || text.split_once('.').is_some_and(|(date, time)| digits(date) && digits(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_version_and_release() {
        for (tag, version) in
            [("6.6-main", "6.6"), ("bpf-next-20250123.013152", "bpf-next"), ("rhel8.9-1.2", "rhel8.9")]
        {
            let parsed: KernelTag = tag.parse().unwrap();
            assert_eq!((parsed.version(), parsed.to_string().as_str()), (version, tag));
            assert_eq!(parsed.directory(), format!("data/kernels/{version}"));
        }
        for bad in [
            "",
            "6.6",
            "main",
            "-main",
            "6.6-main-amd64",
            "6.6-v0.0.1",
            "6.6-2025",
            "6.6-.1",
            "6.6-main\n",
            "../6.6-main",
        ] {
            assert!(bad.parse::<KernelTag>().is_err(), "{bad}");
        }
    }
}
