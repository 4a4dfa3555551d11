//! `lvh kernels pull`: a kernel that is built already.

use std::ffi::OsString;
use std::path::Path;

use lvh_core::{Arch, Error, ErrorKind, Result};

use super::arguments::expect_count;
use super::catalog::{REPOSITORY, version_of};
use super::work;
use crate::terminal;

const EXAMPLES: &str = "\
Examples:
  lvh kernels pull 6.6-main                          to ./6.6-main
  lvh kernels pull bpf-next-20240404.012646 --dir _data
  lvh kernels pull 5.4-main --platform linux/arm64
  lvh kernels pull 6.6-main --repo quay.io/lvh-images/kernel-images-ci";

/// Pull a published kernel: its boot files and modules, in a directory that is called as its tag.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "lvh kernels pull [OPTIONS] <TAG>")]
pub(crate) struct Args {
    /// A tag that `lvh kernels catalog VERSION` lists
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
    #[arg(long, value_name = "REPOSITORY", default_value = REPOSITORY, allow_hyphen_values = true)]
    repo: String,
}

/// Pulls it.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    expect_count(&args.words, 1..=1)?;
    let tag = &args.words[0];
    let platform = args.platform.unwrap_or_else(|| format!("linux/{}", Arch::HOST.debian()));
    let (version, platform) = check(tag, &platform)?;
    let pull = work::Pull { repository: &args.repo, tag, version, platform, target: &Path::new(&args.dir).join(tag) };
    work::pull(&pull, &terminal::events())?;
    Ok(())
}

/// The version in the tag, and the two parts of the platform.
fn check<'a>(tag: &'a str, platform: &'a str) -> Result<(&'a str, (&'a str, &'a str))> {
    let wrong = |message: String| Error::new(ErrorKind::Usage, message);
    // The tag names a directory.
    let version = version_of(tag).filter(|_| !tag.contains('/')).ok_or_else(|| {
        wrong(format!(r"tag is malformed, it should follow ^(.+)-([0-9]+\.[0-9]+|main)$: {tag}"))
            .with_hint("`lvh kernels catalog` lists versions, and with a version its tags")
    })?;
    let platform = platform
        .split_once('/')
        .ok_or_else(|| wrong(format!("platform is malformed, it must be <os>/<arch>: {platform}")))?;
    Ok((version, platform))
}

#[cfg(test)]
mod tests {
    #[test]
    fn tags_and_platforms_are_checked() {
        let check = |tag: &str, platform: &str, expected: &str| {
            let found = super::check(tag, platform);
            let found = found.map_or_else(|error| error.to_string(), |found| format!("{found:?}"));
            assert_eq!(found, expected);
        };
        check("6.6-main", "linux/arm64/v8", r#"("6.6", ("linux", "arm64/v8"))"#);
        let tag = r"tag is malformed, it should follow ^(.+)-([0-9]+\.[0-9]+|main)$: ";
        check("6.6", "linux/amd64", &format!("{tag}6.6"));
        check("../../6.6-main", "linux/amd64", &format!("{tag}../../6.6-main"));
        check("6.6-main", "linux", "platform is malformed, it must be <os>/<arch>: linux");
    }
}
