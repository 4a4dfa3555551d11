//! `lvh kernels pull`: a kernel that is built already.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use lvh_core::config::KERNEL_REPOSITORY;
use lvh_core::{Error, ErrorKind, Result};
use lvh_oci::{KernelTag, Platform, Source};

use super::arguments::expect_count;
use crate::{oci, terminal};

const EXAMPLES: &str = "\
Examples:
  lvh kernels pull 6.6-main                          to ./6.6-main
  lvh kernels pull bpf-next-20240404.012646 --dir _data
  lvh kernels pull 5.4-main --platform linux/arm64
  lvh kernels pull 6.6-main@sha256:4f5d…             exactly this one
  lvh kernels pull 6.6-main --repo quay.io/lvh-images/kernel-images-ci
  lvh kernels pull oci-archive:kernels.tar:6.6-main  without a network; also oci:DIR:TAG, docker-archive:FILE:TAG

A download that was cut goes on where it ended. Docker's and Podman's files say how to log in.";

/// Pull a published kernel: its boot files and modules, in a directory that is called as its tag.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "lvh kernels pull [OPTIONS] <TAG>")]
pub(crate) struct Args {
    /// A tag that `lvh kernels catalog VERSION` lists, perhaps with a digest behind an @, or an image in a file
    #[arg(value_name = "TAG")]
    words: Vec<String>,
    /// For which machine [default: linux, and this machine's architecture]
    #[arg(long, short, value_name = "OS/ARCH", allow_hyphen_values = true)]
    platform: Option<String>,
    /// Where the kernel's directory goes
    #[arg(long, short, value_name = "DIR", default_value = ".", allow_hyphen_values = true,
        value_hint = clap::ValueHint::DirPath)]
    dir: OsString,
    /// The repository of a registry
    #[arg(long, value_name = "REPOSITORY", default_value = KERNEL_REPOSITORY, allow_hyphen_values = true)]
    repo: String,
}

/// Pulls it.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    expect_count(&args.words, 1..=1)?;
    let (source, directory) = source(&args.words[0], &args.repo)?;
    let platform = args.platform.as_deref().map_or(Ok(Platform::host()), platform)?;
    let into = Path::new(&args.dir).join(directory);
    check_place(&into)?;
    oci::pull_kernel(&source, platform, &into, &terminal::events())?;
    Ok(())
}

/// What is there is replaced: only where it is such a kernel, too.
fn check_place(into: &Path) -> Result<()> {
    let others = match fs::read_dir(into) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>(),
    };
    let others = others.map_err(|error| Error::path("look into", into, error))?;
    match others.iter().find(|name| !["boot", "lib"].iter().any(|known| known == name)) {
        None => Ok(()),
        Some(other) => Err(usage(format!("`{}` holds `{}`, and would be replaced", into.display(), other.display()))
            .with_hint("`--dir` puts the kernel elsewhere; or move that away")),
    }
}

/// Where the kernel is that `word` names, and the directory that it goes to.
fn source(word: &str, repository: &str) -> Result<(Source, String)> {
    if ["oci:", "oci-archive:", "docker-archive:"].iter().any(|kind| word.starts_with(kind)) {
        let source: Source = word.parse().map_err(oci::failed)?;
        let directory = source.tag().filter(|tag| is_name(tag)).map(str::to_owned);
        let no_tag = || usage(format!("`{word}` names no tag, and the kernel's directory is called as that"));
        return directory.map(|directory| (source, directory)).ok_or_else(no_tag);
    }
    let (tag, digest) = word.split_at(word.find('@').unwrap_or(word.len()));
    let tag: KernelTag = tag.parse().map_err(|error| {
        oci::failed(error).with_hint("`lvh kernels catalog` lists versions, and with a version its tags")
    })?;
    let reference = format!("{repository}:{tag}{digest}").parse().map_err(oci::failed)?;
    Ok((Source::Registry(reference), tag.to_string()))
}

fn is_name(tag: &str) -> bool {
    !tag.contains('/') && !tag.starts_with('.')
}

/// An architecture alone is none: the Go tool refused it.
fn platform(text: &str) -> Result<Platform> {
    match text.contains('/') {
        true => text.parse().map_err(oci::failed),
        false => Err(usage(format!("platform is malformed, it must be <os>/<arch>: {text}"))),
    }
}

fn usage(message: String) -> Error {
    Error::new(ErrorKind::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_tags_or_images_in_files() {
        let check = |word: &str, expected: &str| {
            let found = source(word, "quay.io/a/b").map(|(source, directory)| format!("{source} to {directory}"));
            let found = found.unwrap_or_else(|error| error.to_string());
            assert_eq!(found, expected);
        };
        check("6.6-main", "quay.io/a/b:6.6-main to 6.6-main");
        let digest = format!("sha256:{}", "0".repeat(64));
        let pinned = format!("6.6-main@{digest}");
        check(&pinned, &format!("quay.io/a/b:{pinned} to 6.6-main"));
        check("oci:layout:6.6-main", "oci:layout:6.6-main to 6.6-main");
        check("docker-archive:k.tar:a/b:mine", "docker-archive:k.tar:a/b:mine to mine");
        check("oci:layout", "`oci:layout` names no tag, and the kernel's directory is called as that");
        check("oci:layout:..", "`oci:layout:..` names no tag, and the kernel's directory is called as that");
        for word in ["6.6", "../../6.6-main", "a/b:6.6-main", "@sha256:0"] {
            let tag = word.split('@').next().unwrap();
            let expected = "VERSION-main or VERSION-DIGITS.DIGITS, such as `6.12-main`";
            check(word, &format!("`{tag}` is no tag of a kernel: expected {expected}"));
        }
    }

    #[test]
    fn platforms_are_checked() {
        assert_eq!(platform("linux/arm64/v8").unwrap().to_string(), "linux/arm64");
        assert_eq!(platform("linux").unwrap_err().to_string(), "platform is malformed, it must be <os>/<arch>: linux");
        assert!(platform("darwin/arm64").unwrap_err().to_string().ends_with("expected `linux/amd64` or `linux/arm64`"));
    }
}
