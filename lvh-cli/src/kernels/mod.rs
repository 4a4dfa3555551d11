//! `lvh kernels`: kernels of a data directory, as the lvh that was written in Go kept them.
//!
//! Its command lines, its `kernels.json`, what it printed on standard output and its exit codes are ours: scripts depend on them.

mod add;
mod arguments;
mod build;
mod catalog;
mod configure;
mod fetch;
mod init;
mod list;
mod pull;
mod push;
mod remove;
mod work;

use std::process::ExitCode;

use clap::Subcommand;

use crate::go_style::as_switch;

const EXAMPLES: &str = "\
Examples:
  lvh kernels init --dir _data
  lvh kernels add --dir _data 6.6 'https://git.kernel.org/pub/scm/linux/kernel/git/stable/linux.git?depth=1#linux-6.6.y'
  lvh kernels build --dir _data 6.6
  lvh kernels list --dir _data
  lvh kernels pull 6.6-main                a kernel that is built already

Options may also stand before the command: lvh kernels --dir _data build 6.6

Exit codes: 0 for success, 1 for every error.";

/// Keep the kernels of a data directory: build them from source, or pull built ones.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_override_self = true, mut_subcommands(|command| command.mut_args(as_switch)))]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    List(list::Args),
    Add(add::Args),
    Remove(remove::Args),
    Configure(configure::Args),
    #[command(name = "raw_configure")]
    RawConfigure(configure::RawArgs),
    Build(build::Args),
    Fetch(fetch::Args),
    Catalog(catalog::Args),
    Pull(pull::Args),
    Push(push::Args),
}

/// Runs the sub-command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Init(args) => init::run(args),
        Command::List(args) => list::run(args),
        Command::Add(args) => add::run(args),
        Command::Remove(args) => remove::run(args),
        Command::Configure(args) => configure::run(args),
        Command::RawConfigure(args) => configure::run_raw(args),
        Command::Build(args) => build::run(args),
        Command::Fetch(args) => fetch::run(args),
        Command::Catalog(args) => catalog::run(args),
        Command::Pull(args) => pull::run(args),
        Command::Push(args) => push::run(args),
    }?;
    Ok(ExitCode::SUCCESS)
}
