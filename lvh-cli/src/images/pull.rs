//! `lvh images pull`: images that were published.

use std::ffi::OsString;
use std::path::Path;

use lvh_core::{Error, ErrorKind, Result};
use lvh_oci::{Compressed, Platform, Source};

use super::pulled;
use crate::{oci, terminal};

const EXAMPLES: &str = "\
Examples:
  lvh images pull quay.io/lvh-images/root-images:main-bookworm     to _data/images
  lvh images pull --cache --dir D --platform linux/arm64 quay.io/lvh-images/kind:6.6-main
  lvh images pull oci:DIR:TAG                                      without a network

What is there already is not fetched again. A file that was changed here, or that is from elsewhere, is kept under another name.";

/// Pull published images.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "lvh images pull [OPTIONS] <URL>")]
pub(crate) struct Args {
    /// An image of a registry, perhaps with a digest behind an @, or in a file
    #[arg(value_name = "URL")]
    words: Vec<String>,
    /// The data directory, which gets the images in `images/`
    #[arg(long, value_name = "DIR", default_value = "_data", allow_hyphen_values = true,
        value_hint = clap::ValueHint::DirPath)]
    dir: OsString,
    /// Keep the compressed file beside each image
    #[arg(long)]
    cache: bool,
    /// For which machine [default: linux, and this machine's architecture]
    #[arg(long, value_name = "OS/ARCH", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    platform: String,
}

/// Pulls them.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let source = source(&args.words)?;
    let compressed = if args.cache { Compressed::Kept } else { Compressed::Removed };
    pulled::pull(&source, platform(&args.platform)?, Path::new(&args.dir), compressed, &terminal::events())?;
    Ok(())
}

/// The Go tool ignored all words but the first.
fn source(words: &[String]) -> Result<Source> {
    let word = words.first().ok_or_else(|| {
        Error::new(ErrorKind::Usage, "requires at least 1 arg(s), only received 0")
            .with_hint("name an image, such as quay.io/lvh-images/root-images:main-bookworm")
    })?;
    word.parse().map_err(oci::failed)
}

pub(super) fn platform(text: &str) -> Result<Platform> {
    if text.is_empty() { Ok(Platform::host()) } else { text.parse().map_err(oci::failed) }
}
