//! Arguments that several commands take, by the rules of the Go tool: they are counted before it is asked whether a mandatory
//! flag is there.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use lvh_core::config::kernels_json::Previous;
use lvh_core::{Arch, Error, ErrorKind, Result};

/// `--dir`, which is mandatory.
#[derive(Debug, clap::Args)]
pub(crate) struct Dir {
    /// The data directory, with `kernels.json`, and the kernels in `kernels/` [mandatory]
    #[arg(long, value_name = "DIR", allow_hyphen_values = true, value_hint = clap::ValueHint::DirPath)]
    dir: Option<OsString>,
}

impl Dir {
    /// The directory.
    pub(crate) fn get(self) -> Result<PathBuf> {
        let dir = self.dir.ok_or_else(|| usage("required flag(s) \"dir\" not set".to_owned()));
        dir.map(PathBuf::from).map_err(|error| error.with_hint("`--dir _data` is what the documentation uses"))
    }
}

/// One kernel of `kernels.json`.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// Its name
    #[arg(value_name = "KERNEL")]
    words: Vec<String>,
    #[command(flatten)]
    dir: Dir,
}

impl Named {
    /// The data directory, and the kernel's name.
    pub(crate) fn get(mut self) -> Result<(PathBuf, String)> {
        expect_count(&self.words, 1..=1)?;
        Ok((self.dir.get()?, self.words.remove(0)))
    }
}

/// `--arch`.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The architecture to build for: amd64 or arm64 [default: this machine's]
    #[arg(long, value_name = "ARCH", allow_hyphen_values = true)]
    arch: Option<String>,
}

impl Target {
    /// The architecture.
    pub(crate) fn get(self) -> Result<Arch> {
        match self.arch.as_deref() {
            None => Ok(Arch::HOST),
            Some("amd64") => Ok(Arch::X86_64),
            Some("arm64") => Ok(Arch::Aarch64),
            Some(other) => Err(usage(format!("unsupported architecture {other} (expected amd64 or arm64)"))),
        }
    }
}

/// `--backup-conf`.
#[derive(Debug, clap::Args)]
pub(crate) struct Backup {
    /// Keep the old `kernels.json`, under a name with the date
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", hide_default_value = true, action = clap::ArgAction::Set, value_parser = parse_bool)]
    backup_conf: bool,
}

impl Backup {
    /// What becomes of the old file.
    pub(crate) fn get(&self) -> Previous {
        if self.backup_conf { Previous::Renamed } else { Previous::Replaced }
    }
}

/// Reads the value of a flag such as `--force=false`.
pub(crate) fn parse_bool(text: &str) -> std::result::Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false"),
    }
}

/// The values of a flag that may be given several times, and with commas in it.
pub(crate) fn split_list(values: Vec<String>) -> Vec<String> {
    let parts = values.iter().filter(|value| !value.is_empty()).flat_map(|value| value.split(','));
    parts.map(str::to_owned).collect()
}

/// Refuses another number of arguments than `expected`.
pub(crate) fn expect_count(words: &[String], expected: RangeInclusive<usize>) -> Result<()> {
    let (least, most, found) = (*expected.start(), *expected.end(), words.len());
    match expected.contains(&found) {
        true => Ok(()),
        false if least == most => Err(usage(format!("accepts {least} arg(s), received {found}"))),
        false => Err(usage(format!("accepts between {least} and {most} arg(s), received {found}"))),
    }
}

fn usage(message: String) -> Error {
    Error::new(ErrorKind::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_commas() {
        let check = |values: &[&str], expected: &[&str]| {
            assert_eq!(split_list(values.iter().map(ToString::to_string).collect()), expected, "{values:?}");
        };
        check(&[], &[]);
        check(&[""], &[]);
        check(&["basic"], &["basic"]);
        check(&["basic,bpf", "virtio"], &["basic", "bpf", "virtio"]);
        check(&["basic,,bpf"], &["basic", "", "bpf"]);
    }

    #[test]
    fn flags_are_true_or_false() {
        for (text, expected) in [("1", Ok(true)), ("t", Ok(true)), ("FALSE", Ok(false)), ("F", Ok(false))] {
            assert_eq!(parse_bool(text), expected, "{text}");
        }
        for text in ["", "yes", "tRUE", "2"] {
            assert!(parse_bool(text).is_err(), "{text}");
        }
    }
}
