//! `lvh cache`: what a CI system's cache of the data directory needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use lvh_core::store::Key;
use lvh_core::{Arch, Config};

use crate::terminal;

const EXAMPLES: &str = "\
Examples:
  lvh cache key                of all kernels
  lvh cache key 6.1 6.12       of a machine that needs these alone";

/// What a CI system's cache of the data directory needs.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Key(KeyArgs),
}

/// Print what such a cache should be keyed by: lvh's version, the architecture, and all lvh.toml and lvh.lock here and below.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct KeyArgs {
    /// Kernels that the cache is for [default: all]
    kernels: Vec<String>,
}

/// How deep packages of a workspace may lie.
const DEPTH: usize = 4;

/// Prints the key.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::Key(KeyArgs { mut kernels }) = args.command;
    let here = std::env::current_dir().context("failed to find the working directory")?;
    kernels.sort();
    kernels.dedup();
    terminal::output(&format!("{}\n", key(&here, &kernels)?))?;
    Ok(ExitCode::SUCCESS)
}

fn key(dir: &Path, kernels: &[String]) -> anyhow::Result<String> {
    let mut parts = kernels.to_vec();
    // A file above counts too; its path does not, for machines differ in that.
    if let Some(file) = Config::discover(dir)?.file {
        parts.extend(
            [file.clone(), file.with_extension("lock")].iter().filter_map(|file| fs::read_to_string(file).ok()),
        );
    }
    let mut files = Vec::new();
    collect(dir, DEPTH, &mut files);
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
        parts.extend([file.strip_prefix(dir).unwrap_or(&file).display().to_string(), text]);
    }
    let digest = Key::of(&parts);
    Ok(format!("lvh-{}-{}-{}", env!("CARGO_PKG_VERSION"), Arch::HOST.as_str(), &digest.as_str()[..16]))
}

fn collect(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_source = || !name.as_encoded_bytes().starts_with(b".") && !path.join("CACHEDIR.TAG").is_file();
        match name.to_str() {
            Some("lvh.toml" | "lvh.lock") => files.push(path),
            _ if is_dir && depth > 0 && is_source() => collect(&path, depth - 1, files),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_of_what_names_stand_for() {
        let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let write = |dir: &tempfile::TempDir, file: &str, text: &str| {
            let file = dir.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        let key_of = |dir: &tempfile::TempDir| key(dir.path(), &[]).unwrap();
        for dir in [&one, &other] {
            write(dir, "lvh.toml", "");
            write(dir, "pkg/lvh.toml", "[kernels.a]\npath = '.'\n");
        }
        let first = key_of(&one);
        assert!(first.starts_with(&format!("lvh-{}-", env!("CARGO_PKG_VERSION"))), "{first}");
        assert_eq!(first, key_of(&other));
        write(&other, "target/CACHEDIR.TAG", "");
        write(&other, "target/lvh.toml", "");
        assert_eq!(first, key_of(&other));
        assert_ne!(first, key(one.path(), &["6.1".to_owned()]).unwrap());
        for file in ["pkg/lvh.lock", "lvh.lock"] {
            let before = key_of(&other);
            write(&other, file, "version = 1\n");
            assert_ne!(before, key_of(&other), "{file}");
        }
    }
}
