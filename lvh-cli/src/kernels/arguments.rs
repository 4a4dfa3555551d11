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
    #[arg(long)]
    backup_conf: bool,
}

impl Backup {
    /// What becomes of the old file.
    pub(crate) fn get(&self) -> Previous {
        if self.backup_conf { Previous::Renamed } else { Previous::Replaced }
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
}
