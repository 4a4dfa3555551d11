//! `lvh kernels catalog`: which kernels are published.

use anyhow::Context as _;
use lvh_core::config::KERNEL_REPOSITORY;

use crate::{oci, terminal};

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
    #[arg(long, value_name = "REPOSITORY", default_value = KERNEL_REPOSITORY, allow_hyphen_values = true)]
    repo: String,
}

/// Prints a line for each.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let catalog = oci::catalog(&args.repo)?;
    let lines = match args.words.first() {
        None => catalog.versions().into_iter().map(str::to_owned).collect(),
        Some(version) => catalog.tags(version).map_err(oci::failed)?,
    };
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    terminal::output(&lines).context("failed to write to stdout")
}
