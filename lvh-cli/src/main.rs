//! The `lvh` command: programs on Linux kernels in throw-away VMs.

mod cache;
mod ci;
mod completions;
mod doctor;
mod exit;
mod fetch_kernel;
mod gc;
mod go_style;
mod images;
mod kernels;
mod listing;
mod man;
mod oci;
mod prefetch;
mod report;
mod run;
mod sizes;
mod terminal;
mod update;
mod version;
mod vm;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use go_style::CommandLine;
use vm::{attach, exec, runner};

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
    Report(report::Args),
    Doctor(doctor::Args),
    Update(update::Args),
    Gc(gc::Args),
    Prefetch(prefetch::Args),
    Cache(cache::Args),
    Ci(ci::Args),
    #[command(visible_aliases = ["kernel", "k"])]
    Kernels(kernels::Args),
    Run(Box<run::Args>),
    Images(images::Args),
    Completions(completions::Args),
    Man(man::Args),
    Version(version::Args),
    FetchKernel(fetch_kernel::Args),
}

fn main() -> ExitCode {
    let line = CommandLine::new(std::env::args_os(), &Cli::command());
    line.notes.iter().for_each(|note| terminal::error(&format!("{note}\n")));
    match Cli::try_parse_from(&line.args) {
        Ok(cli) => run(cli).unwrap_or_else(|error| exit::report(&error, line.go_style)),
        Err(error) => exit::explain(&error, line.go_style),
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Exec(args) => exec::run(args),
        Command::Runner(args) => runner::run(args),
        Command::Attach(args) => attach::run(args),
        Command::Report(args) => report::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Update(args) => update::run(args),
        Command::Gc(args) => gc::run(args),
        Command::Prefetch(args) => prefetch::run(&args),
        Command::Cache(args) => cache::run(args),
        Command::Ci(args) => ci::run(args),
        Command::Kernels(args) => kernels::run(args),
        Command::Run(args) => run::run(*args),
        Command::Images(args) => images::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
        Command::Version(args) => version::run(args),
        Command::FetchKernel(args) => fetch_kernel::run(args),
    }
}
