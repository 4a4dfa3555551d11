use std::process::ExitCode;

use super::shard::By;
use crate::terminal;

const EXAMPLES: &str = "\
Examples:
  lvh ci workflow github --shards 8 > .github/workflows/kernels.yml
  lvh ci workflow gitlab --shards 8 > .gitlab-ci.yml

It builds the tests once, splits them by the times of the run before, fetches the kernels of each shard through the CI system's cache,
runs the shards, and merges their reports. It is a start: read its comments and change it.";

/// Print a workflow that runs tests on several machines.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Whose
    system: System,
    /// How many machines run tests
    #[arg(long, short = 'n', value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=200))]
    shards: u16,
    /// What tests of one machine have in common
    #[arg(long, value_enum, default_value_t = By::Time)]
    by: By,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum System {
    /// GitHub Actions
    Github,
    /// GitLab CI
    Gitlab,
}

/// Prints it.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let template = match args.system {
        System::Github => include_str!("workflow/github.yml"),
        System::Gitlab => include_str!("workflow/gitlab.yml"),
    };
    let by = match args.by {
        By::Time => "time",
        By::Kernel => "kernel",
        By::Image => "image",
    };
    terminal::output(&template.replace("@SHARDS@", &args.shards.to_string()).replace("@BY@", by))?;
    Ok(ExitCode::SUCCESS)
}
