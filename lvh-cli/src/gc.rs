//! `lvh gc`: makes room in the data directory.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use lvh_core::Config;
use lvh_core::image::{self, CollectedImage};
use lvh_core::store::{Collected, Limits, StoredEntry};
use lvh_oci::BlobStore;

use crate::oci;
use crate::sizes::{age, parse_age, parse_size, size};
use crate::terminal;

const EXAMPLES: &str = "\
Examples:
  lvh gc                       what nobody used for 30 days
  lvh gc --keep-size 20G       and then what was used longest ago, until 20 GiB are left
  lvh gc --older-than 0d       all that is not in use
  lvh gc --dry-run             only tell what would go

What goes is fetched or built again when it is needed. What a running VM or another process of lvh uses stays, and so do the source
trees in kernels/ and the images in images/, which are yours: see `lvh kernels remove`. Images of lvh.toml go by --older-than alone.";

/// Remove kernels, snapshots and other files of the data directory that were not used for long.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What was not used for this long goes, such as 30d or 12h
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = parse_age)]
    older_than: Duration,
    /// Then the rest goes, what was used longest ago first, until it takes no more than this, such as 20G [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    keep_size: Option<u64>,
    /// Remove nothing, and tell what would go
    #[arg(long)]
    dry_run: bool,
}

/// Removes it, and tells what went.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let dir = std::env::current_dir().context("failed to find the working directory")?;
    let store = Config::for_process(&dir)?.store()?;
    let Args { older_than, keep_size, dry_run } = args;
    let limits = Limits { older_than, keep_size, dry_run };
    let mut collected = store.collect(limits)?;
    let (images, failed) = image::collect(&store, limits)?;
    let blobs = BlobStore::open(store.state("oci")?).and_then(|blobs| blobs.collect(older_than, dry_run));
    collected.leftovers += failed + blobs.map_err(oci::failed)?;
    let image = |image: &CollectedImage| row("image", image.size, image.used, &image.name);
    let lines: String = collected.removed.iter().map(line).chain(images.iter().map(image)).collect();
    terminal::output(&format!("{lines}{}\n", summary(&collected, &images, dry_run)))?;
    Ok(ExitCode::SUCCESS)
}

fn line(entry: &StoredEntry) -> String {
    let what = entry.identity().unwrap_or_else(|| entry.key.as_str()[..12].to_owned());
    row(&entry.kind, entry.size, entry.used, &what)
}

fn row(kind: &str, bytes: u64, used: SystemTime, what: &str) -> String {
    format!("{kind:<14} {:>8} {:>5}  {what}\n", size(bytes), age(used))
}

fn summary(collected: &Collected, images: &[CollectedImage], dry_run: bool) -> String {
    let sizes = collected.removed.iter().map(|entry| entry.size).chain(images.iter().map(|image| image.size));
    let freed = collected.leftovers + sizes.sum::<u64>();
    let (verb, gone) = (if dry_run { "would free" } else { "freed" }, collected.removed.len() + images.len());
    let (stay, bytes) = collected.kept;
    let leftovers = match collected.leftovers {
        0 => String::new(),
        bytes => format!(", {} of them left by killed processes", size(bytes)),
    };
    let in_use = if collected.in_use == 0 { String::new() } else { format!(", {} of them in use", collected.in_use) };
    format!("{verb} {} in {gone} entries{leftovers}; {stay} entries stay, {}{in_use}", size(freed), size(bytes))
}
