//! The `lvh` command: programs on Linux kernels in throw-away VMs.

mod attach;
mod completions;
mod doctor;
mod exec;
mod exit;
mod man;
mod relay;
mod runner;
mod terminal;
mod update;
mod vm_command;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Run programs on Linux kernels in throw-away VMs.
#[derive(Debug, Parser)]
#[command(name = "lvh", version, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Exec(exec::Args),
    Runner(runner::Args),
    Attach(attach::Args),
    Doctor(doctor::Args),
    Update(update::Args),
    Completions(completions::Args),
    Man(man::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => exit::report(&error),
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Exec(args) => exec::run(args),
        Command::Runner(args) => runner::run(args),
        Command::Attach(args) => attach::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Update(args) => update::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    }
}
