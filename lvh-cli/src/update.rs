//! `lvh update`: asks the archives again which kernels are the newest.

use std::process::ExitCode;

use anyhow::Context as _;
use lvh_core::{Config, kernel};

use crate::terminal;

/// Fetch the newest kernels that the names of lvh.toml stand for; until then lvh stays with what it found first.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  lvh update              every default kernel of lvh.toml\n  lvh update 6.12 7.x     these"
)]
pub(crate) struct Args {
    /// Names of kernels [default: `default-kernels` of lvh.toml]
    kernels: Vec<String>,
}

/// Forgets what each name stood for, and resolves it again.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let dir = std::env::current_dir().context("failed to find the working directory")?;
    let config = Config::for_process(&dir)?;
    let store = config.store()?;
    let names = if args.kernels.is_empty() { config.default_kernels.clone() } else { args.kernels };
    for name in names {
        let source = config.kernel(&name)?;
        let kernel = kernel::update_blocking(&name, &source, &store, &terminal::events())?;
        terminal::output(&format!("{name}: {} ({})\n", kernel.release, kernel.identity))?;
    }
    Ok(ExitCode::SUCCESS)
}
