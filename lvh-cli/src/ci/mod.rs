//! `lvh ci`: what a CI system needs to run tests on many machines, with cargo-nextest as the engine.
//!
//! ```text
//! Listing ─┬─► Group (what runs together) ─► balance ─► Shard (filter) ─► format (GitHub, GitLab, plain)
//! Times ───┘
//! ```

mod balance;
mod filter;
mod format;
mod matrix;
mod shard;
mod times;
mod workflow;

use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  lvh ci workflow github --shards 8 > .github/workflows/kernels.yml
  lvh ci matrix --archive-file tests.tar.zst --workspace-remap . --shards 8
  lvh ci filter shards.json 2";

/// Split tests between machines of a CI system, and print a workflow that does so.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Matrix(matrix::Args),
    Filter(filter::Args),
    Workflow(workflow::Args),
}

/// Runs the sub-command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Matrix(args) => matrix::run(&args),
        Command::Filter(args) => filter::run(&args),
        Command::Workflow(args) => workflow::run(&args),
    }
}
