use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// An architecture, in the words of OCI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl Architecture {
    /// OCI's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

/// What an image is for: Linux on an architecture, written `linux/amd64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Platform(Architecture);

impl Platform {
    /// Linux on `architecture`.
    pub fn linux(architecture: Architecture) -> Self {
        Self(architecture)
    }

    /// Linux on this machine's architecture, also on hosts that run another system.
    pub fn host() -> Self {
        Self(if cfg!(target_arch = "aarch64") { Architecture::Arm64 } else { Architecture::Amd64 })
    }

    /// The architecture.
    pub fn architecture(self) -> Architecture {
        self.0
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// Takes `linux/ARCH`, `ARCH` alone, and `linux/arm64/v8`.
    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix("linux/").unwrap_or(text) {
            "amd64" => Ok(Self(Architecture::Amd64)),
            "arm64" | "arm64/v8" => Ok(Self(Architecture::Arm64)),
            _ => {
                let expected = "`linux/amd64` or `linux/arm64`".to_owned();
                Err(Error::Malformed { what: "platform", text: text.to_owned(), expected })
            }
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_linux_on_two_architectures() {
        for (text, shown) in
            [("linux/amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("linux/arm64/v8", "linux/arm64")]
        {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), shown);
        }
        for bad in ["", "darwin/arm64", "linux", "linux/", "linux/386", "amd64/linux"] {
            let error = bad.parse::<Platform>().unwrap_err().to_string();
            assert_eq!(error, format!("`{bad}` is no platform: expected `linux/amd64` or `linux/arm64`"));
        }
    }
}
