//! `lvh images`: images of a data directory, as the lvh that was written in Go kept them.
//!
//! Its command lines, its `images.json`, what it printed on standard output and its exit codes are ours: scripts depend on them.

mod build;
mod example_config;
mod pull;
pub(crate) mod pulled;
mod push;

use std::process::ExitCode;

use clap::Subcommand;

use crate::go_style::as_switch;

const EXAMPLES: &str = "\
Examples:
  lvh images example-config > _data/images.json
  lvh images build --dir _data --pkg-repo trixie
  lvh images build --dir _data --image k8s.qcow2       it, what it is made from and what is made from it
  lvh images pull quay.io/lvh-images/root-images:main-bookworm

Options may also stand before the command: lvh images --dir _data build

Exit codes: 0 for success, 1 for every error.";

/// Keep the images of a data directory: disks with a root file system of their own.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_override_self = true, mut_subcommands(|command| command.mut_args(as_switch)))]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(build::Args),
    Pull(pull::Args),
    Push(push::Args),
    ExampleConfig(example_config::Args),
}

/// Runs the sub-command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Build(args) => build::run(args),
        Command::Pull(args) => pull::run(args),
        Command::Push(args) => push::run(args),
        Command::ExampleConfig(args) => example_config::run(args),
    }?;
    Ok(ExitCode::SUCCESS)
}
