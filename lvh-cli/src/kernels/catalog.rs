//! `lvh kernels catalog`: which kernels are published.

use std::collections::BTreeMap;

use anyhow::Context as _;
use lvh_core::{Error, ErrorKind, Result};

use super::work;
use crate::terminal;

/// Where the Cilium project publishes kernels.
pub(super) const REPOSITORY: &str = "quay.io/lvh-images/kernel-images";

const EXAMPLES: &str = "\
Examples:
  lvh kernels catalog                      the versions
  lvh kernels catalog 6.6                  the tags of 6.6, the newest build last but one, then 6.6-main
  lvh kernels catalog bpf-next --repo quay.io/lvh-images/kernel-images-ci";

/// List the kernels that are published, or the tags of one.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "lvh kernels catalog [OPTIONS] [VERSION]")]
pub(crate) struct Args {
    /// List the tags of this version
    #[arg(value_name = "VERSION")]
    words: Vec<String>,
    /// The repository of a registry
    #[arg(long, value_name = "REPOSITORY", default_value = REPOSITORY, allow_hyphen_values = true)]
    repo: String,
}

/// Prints a line for each.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let tags = work::tags(&args.repo, &terminal::events())?;
    let lines: String = list(&tags, args.words.first())?.iter().map(|line| format!("{line}\n")).collect();
    terminal::output(&lines).context("failed to write to stdout")
}

/// The version in a tag `VERSION-main` or `VERSION-DATE.TIME`.
pub(super) fn version_of(tag: &str) -> Option<&str> {
    let (version, build) = tag.rsplit_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_build = build == "main" || build.split_once('.').is_some_and(|(date, time)| digits(date) && digits(time));
    (is_build && !version.is_empty()).then_some(version)
}

/// The versions among `tags`, or the tags of one version.
fn list<'t>(tags: &'t [String], version: Option<&String>) -> Result<Vec<&'t str>> {
    let mut known: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for tag in tags {
        // Those with `-latest` are no longer published.
        if let Some(version) = version_of(tag).filter(|version| !version.contains("-latest")) {
            known.entry(version).or_default().push(tag);
        }
    }
    let mut versions: Vec<&str> = known.keys().copied().collect();
    versions.sort_by_key(|version| numbers(version));
    let Some(version) = version else { return Ok(versions) };
    let mut tags = known.remove(version.as_str()).ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("kernel version not found, try: [{}]", versions.join(" ")))
    })?;
    tags.sort_unstable();
    Ok(tags)
}

/// The numbers of a version such as 6.6 or 6.6.30; names, which have none, sort before all.
fn numbers(version: &str) -> Option<Vec<u64>> {
    let number = |part: &str| part.parse().ok().filter(|_| part == "0" || !part.starts_with(['0', '+']));
    let mut numbers: Vec<u64> = version.split('.').map(number).collect::<Option<_>>()?;
    let is_version = numbers.len() <= 3;
    numbers.resize(3, 0);
    is_version.then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_hold_versions() {
        let check = |tag: &str, expected: Option<&str>| assert_eq!(version_of(tag), expected, "{tag}");
        check("6.6-main", Some("6.6"));
        check("bpf-next-20240404.012646", Some("bpf-next"));
        check("rhel8.9-20240404.012646", Some("rhel8.9"));
        check("6.6-main-amd64", None);
        check("6.6-v1.0", None);
        check("6.6-20240404", None);
        check("6.6-.1", None);
        check("-main", None);
        check("main", None);
        check("6.6-main@sha256:00", None);
    }

    #[test]
    fn versions_and_tags_are_sorted() {
        let tags = [
            "6.12-main",
            "6.6-main",
            "6.6-20240404.012646",
            "5.10-main",
            "rhel8.9-main",
            "bpf-next-main",
            "6.6-latest-main",
            "6.6-20231204.012646",
            "latest",
            "6.6-main-amd64",
            "6.6.30-main",
        ]
        .map(str::to_owned);
        let check = |version: Option<&str>, expected: &str| {
            let found = list(&tags, version.map(str::to_owned).as_ref());
            let found = found.map_or_else(|error| error.to_string(), |lines| lines.join(" "));
            assert_eq!(found, expected);
        };
        check(None, "bpf-next rhel8.9 5.10 6.6 6.6.30 6.12");
        check(Some("6.6"), "6.6-20231204.012646 6.6-20240404.012646 6.6-main");
        check(Some("6.7"), "kernel version not found, try: [bpf-next rhel8.9 5.10 6.6 6.6.30 6.12]");
    }
}
