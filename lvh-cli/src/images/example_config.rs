//! `lvh images example-config`.

use anyhow::Context as _;
use lvh_core::image::images_json;

use crate::terminal;

/// Print an `images.json` to begin with.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lvh images example-config > _data/images.json")]
pub(crate) struct Args {
    /// The Go tool ignored them.
    #[arg(hide = true)]
    _ignored: Vec<String>,
}

/// Prints it.
pub(super) fn run(_args: Args) -> anyhow::Result<()> {
    terminal::output(&images_json::example()).context("failed to write to stdout")
}
