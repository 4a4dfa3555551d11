use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::image::compression::Compression;
use crate::{Error, Result};

/// What an option of a kernel's `.config` is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `=y`: built in.
    Yes,
    /// `=m`: a module.
    Module,
    /// A number or a string, without its quotes.
    Text(String),
}

/// A kernel's `.config`.
#[derive(Debug, Clone, Default)]
pub struct KernelConfig(HashMap<String, Value>);

impl KernelConfig {
    /// Reads a `.config`, also one in gzip such as `/proc/config.gz`.
    ///
    /// # Errors
    /// When the file cannot be read or unpacked.
    pub fn load(path: &Path) -> Result<Self> {
        let mut bytes = fs::read(path).map_err(|e| Error::path("read", path, e))?;
        if let Some(format) = Compression::detect(&bytes) {
            bytes = format.decompress(&bytes).map_err(|e| Error::path("unpack", path, e))?;
        }
        Ok(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    /// Reads the text of a `.config`; lines that set nothing are skipped.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(parse_line).collect())
    }

    /// The value of an option, named without its `CONFIG_`; `None` where it is off or unknown.
    pub fn get(&self, option: &str) -> Option<&Value> {
        self.0.get(option)
    }

    /// How many options are on, built in or as modules.
    pub(super) fn count_on(&self) -> usize {
        self.0.values().filter(|value| matches!(value, Value::Yes | Value::Module)).count()
    }

    /// Whether an option is built in.
    pub fn is_built_in(&self, option: &str) -> bool {
        self.get(option) == Some(&Value::Yes)
    }

    /// Whether an option is on, built in or as a module.
    pub fn is_on(&self, option: &str) -> bool {
        matches!(self.get(option), Some(Value::Yes | Value::Module))
    }
}

fn parse_line(line: &str) -> Option<(String, Value)> {
    let (option, value) = line.trim_end().strip_prefix("CONFIG_")?.split_once('=')?;
    let value = match value {
        "y" => Value::Yes,
        "m" => Value::Module,
        "n" => return None,
        text => Value::Text(text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text).to_owned()),
    };
    Some((option.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let text = "# Automatically generated\nCONFIG_VIRTIO_FS=m\n# CONFIG_9P_FS is not set\nCONFIG_BPF=y\n\
                    CONFIG_NR_CPUS=64\nCONFIG_LSM=\"landlock,bpf\"\nCONFIG_OLD=n\nCONFIG_EMPTY=\"\"\nnonsense=1\n";
        let config = KernelConfig::parse(text);
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        let cases = [
            ("VIRTIO_FS", Some(Value::Module)),
            ("9P_FS", None),
            ("BPF", Some(Value::Yes)),
            ("NR_CPUS", text("64")),
            ("LSM", text("landlock,bpf")),
            ("OLD", None),
            ("EMPTY", text("")),
            ("nonsense", None),
        ];
        for (option, value) in cases {
            assert_eq!(config.get(option), value.as_ref(), "{option}");
        }
        assert!(config.is_on("VIRTIO_FS") && !config.is_built_in("VIRTIO_FS"));
        assert!(config.is_on("BPF") && config.is_built_in("BPF") && !config.is_on("NR_CPUS"));
    }
}
