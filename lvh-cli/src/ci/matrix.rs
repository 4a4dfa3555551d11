use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;

use super::format::{Format, rendered};
use super::shard::{By, shards};
use super::times::Times;
use crate::listing::Source;
use crate::terminal;

const EXAMPLES: &str = "\
Examples:
  lvh ci matrix --archive-file tests.tar.zst --shards 8 --times junit.xml --format github
  lvh ci matrix --by kernel --format gitlab          of the workspace here, one shard for each kernel
  lvh ci matrix --list tests.json --shards 4         of what `cargo nextest list --message-format json` printed
  lvh ci matrix --shards 4 -- -p maps --release      what is behind `--` goes to `cargo nextest list`
  lvh ci matrix --binary target/debug/deps/it-0123456789abcdef --shards 2

Each shard has a filter for `cargo nextest run -E`. Every test on every kernel is in exactly one. What --times has no time of
counts as a usual test of its binary.";

/// Print the shards of a run as JSON: of about the same time each, or a kernel or an image each.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// How many shards there are to be [default: 4, or with --by as many as there are kernels or images]
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    shards: Option<u16>,
    /// What tests of one shard have in common; with fewer --shards than there are of it, a shard has several
    #[arg(long, value_enum, default_value_t = By::Time)]
    by: By,
    /// JUnit file of an earlier run, of cargo-nextest or of lvh; may be given several times
    #[arg(long, value_name = "FILE")]
    times: Vec<PathBuf>,
    /// Whose JSON
    #[arg(long, value_enum, default_value_t = Format::Plain)]
    format: Format,
    #[command(flatten)]
    source: Source,
}

/// Prints the shards.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let times = Times::read(&args.times)?;
    let listing = args.source.read()?;
    if listing.tests.is_empty() {
        bail!("there is no test to run");
    }
    let shards = shards(&listing.tests, &times, args.by, args.shards.map(usize::from));
    let (text, notes) = rendered(&shards, args.format);
    notes.iter().for_each(|note| terminal::error(&format!("lvh: {note}\n")));
    terminal::output(&text)?;
    Ok(ExitCode::SUCCESS)
}
