//! `lvh version`.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::terminal;

/// Print the version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lvh version              in one line, such as v0.1.0")]
pub(crate) struct Args {
    /// The Go tool ignored them.
    #[arg(hide = true)]
    _ignored: Vec<String>,
}

/// Prints it as the Go tool's releases were called.
pub(crate) fn run(_: Args) -> anyhow::Result<ExitCode> {
    terminal::output(concat!("v", env!("CARGO_PKG_VERSION"), "\n")).context("failed to write to stdout")?;
    Ok(ExitCode::SUCCESS)
}
