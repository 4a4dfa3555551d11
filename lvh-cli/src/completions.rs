//! `lvh completions`: what a shell needs to complete the command's words.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{Cli, terminal};

const EXAMPLES: &str = "\
Examples:
  lvh completions bash > ~/.local/share/bash-completion/completions/lvh
  lvh completions zsh > ~/.zfunc/_lvh            with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
  lvh completions fish > ~/.config/fish/completions/lvh.fish";

/// Print what a shell needs to complete lvh's commands and options.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(Args { shell }: Args) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lvh", &mut script);
    terminal::output(&String::from_utf8_lossy(&script)).context("failed to write to stdout")?;
    Ok(ExitCode::SUCCESS)
}
