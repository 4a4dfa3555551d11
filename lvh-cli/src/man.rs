//! `lvh man`: manual pages, made of the same words as `--help`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap::builder::Resettable;
use clap_mangen::Man;

use crate::{Cli, terminal};

const EXAMPLES: &str = "\
Examples:
  lvh man | man -l -                      the main page
  lvh man ~/.local/share/man/man1         all pages: lvh.1, lvh-exec.1 and so on";

/// Write the manual pages.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where all pages go; made where it is missing [default: the main page goes to standard output]
    #[arg(value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

/// Writes the pages.
pub(crate) fn run(Args { dir }: Args) -> anyhow::Result<ExitCode> {
    // `lvh help` says what these pages say.
    let mut command = Cli::command().disable_help_subcommand(true);
    // Gives each subcommand the name `lvh exec`, and `lvh-exec` for its page.
    command.build();
    match dir {
        Some(dir) => {
            std::fs::create_dir_all(&dir).with_context(|| format!("failed to create `{}`", dir.display()))?;
            write_all(&command, &dir)?;
        }
        None => terminal::output(&page(&command)?).context("failed to write to stdout")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command and those of its own commands.
fn write_all(command: &clap::Command, dir: &Path) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let file = dir.join(format!("{name}.1"));
    std::fs::write(&file, page(command)?).with_context(|| format!("failed to write `{}`", file.display()))?;
    // `lvh kernels help` says what its page says.
    let commands = command.get_subcommands().filter(|command| command.get_name() != "help" && !command.is_hide_set());
    commands.into_iter().try_for_each(|command| write_all(command, dir))
}

fn page(command: &clap::Command) -> anyhow::Result<String> {
    let notes = command.get_after_help().map(ToString::to_string);
    let mut page = Vec::new();
    // clap_mangen would fill the lines of the examples like prose.
    let man = Man::new(command.clone().after_help(Resettable::Reset)).manual("lvh");
    man.render(&mut page).context("failed to write a manual page")?;
    Ok(String::from_utf8_lossy(&page).into_owned() + &notes.as_deref().map(verbatim).unwrap_or_default())
}

/// A section whose lines stay as they are.
fn verbatim(notes: &str) -> String {
    let lines = notes.lines().map(|line| {
        let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('`', "\\(ga");
        // What begins with a full stop would be a request.
        if line.starts_with('.') { format!("\\&{line}\n") } else { format!("{line}\n") }
    });
    format!(".SH EXAMPLES AND NOTES\n.nf\n{}.fi\n", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn notes_are_taken_as_they_are() {
        let text = super::verbatim(".x `a-b`\n  C:\\");
        assert_eq!(text, ".SH EXAMPLES AND NOTES\n.nf\n\\&.x \\(gaa\\-b\\(ga\n  C:\\e\n.fi\n");
    }
}
