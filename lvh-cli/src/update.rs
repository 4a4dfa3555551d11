//! `lvh update`: asks archives and remotes again what names stand for.

use std::process::ExitCode;

use anyhow::Context as _;
use lvh_core::store::{Named, Pins};
use lvh_core::{Config, Error, ImageSource, Store, image, kernel};

use crate::{fetch_kernel, terminal};

const EXAMPLES: &str = "\
Examples:
  lvh update              every kernel and image of lvh.lock, and the default kernels of lvh.toml
  lvh update 6.12 7.x     these
  lvh update --locked     fetch what lvh.lock names, and ask nothing anew";

/// Resolve tags, branches and suites again: fetch the newest kernels and images that names stand for, and pin them in lvh.lock.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Names of kernels and images [default: those of lvh.lock and `default-kernels` of lvh.toml]
    #[arg(value_name = "NAMES")]
    names: Vec<String>,
    /// Fetch what lvh.lock names
    #[arg(long)]
    locked: bool,
}

/// Resolves each name again; until then lvh stays with what it found first.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let dir = std::env::current_dir().context("failed to find the working directory")?;
    let mut config = Config::for_process(&dir)?;
    config.locked |= args.locked;
    let store = fetch_kernel::store(&config)?;
    // What is resolved could not be pinned in one that is damaged.
    store.pins().map(Pins::all).transpose()?;
    let names = if args.names.is_empty() { all_names(&config, &store)? } else { args.names };
    for name in names {
        let is_image = update_image(&name, &config, &store)?;
        let source = match config.kernel(&name) {
            Err(_) if is_image => continue,
            source => source?,
        };
        let kernel = kernel::update_blocking(&name, &source, &store, &terminal::events())?;
        terminal::output(&format!("{name}: {} ({})\n", kernel.release, kernel.identity))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Resolves the image of that name, if there is one.
fn update_image(name: &str, config: &Config, store: &Store) -> lvh_core::Result<bool> {
    let Ok(source) = config.image(name) else { return Ok(false) };
    // That is a kernel's.
    if name.contains('/') && matches!(source, ImageSource::Path(_)) {
        return Ok(false);
    }
    let image = image::update_blocking(name, &source, store, &terminal::events())?;
    terminal::output(&format!("{}\n", image.label())).map_err(|error| Error::io("write to stdout", error))?;
    Ok(true)
}

/// The default kernels and those that are pinned. Pins that no name stands behind any more are dropped.
fn all_names(config: &Config, store: &Store) -> lvh_core::Result<Vec<String>> {
    let mut names = config.default_kernels.clone();
    let Some(pins) = store.pins() else { return Ok(names) };
    if !store.is_locked() {
        pins.retain(|pin| match pin.what {
            Named::Kernel => config.kernel(&pin.name).is_ok(),
            Named::Image => config.image(&pin.name).is_ok(),
        })?;
    }
    names.extend(pins.all()?.into_iter().map(|pin| pin.name));
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}
