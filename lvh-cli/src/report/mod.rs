//! `lvh report`: the results of a run, or of all shards of one, as a page and as Markdown.
//!
//! [`input`] finds JUnit files and the logs beside them, [`junit`] reads what cargo-nextest and lvh wrote, [`matrix`] makes one table of
//! all, and [`page`] and [`markdown`] show it.

mod expected;
mod failure;
mod input;
mod junit;
mod markdown;
mod matrix;
mod page;
mod place;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;

use crate::terminal;
use input::Inputs;
use matrix::Matrix;

const EXAMPLES: &str = "\
Examples:
  lvh report -o report.html                                   of LVH_JUNIT=target/lvh/ cargo test
  lvh report target/nextest/ci/junit.xml -o report.html       of cargo nextest
  lvh report shards/ -o report.html -o summary.md             all shards, whose files are in there
  lvh report shards/ --expect list.json >> \"$GITHUB_STEP_SUMMARY\"
      with list.json of `cargo nextest list --message-format json`

Exit codes: 0 where all tests passed or were skipped, 1 where one failed or did not run, 2 where there is nothing to report on.";

/// Make one page of the results of a run, or of all its shards.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// JUnit files of cargo-nextest and of lvh, and directories that hold some, with the logs of VMs
    #[arg(value_name = "PATH", default_value = "target/lvh")]
    paths: Vec<PathBuf>,
    /// A file to write; may be given several times [default: Markdown on standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Vec<PathBuf>,
    /// What is written, where a file's name does not end in .html or .md
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// What should have run: the list of `cargo nextest list`, with `--message-format json` or `oneline`
    #[arg(long, value_name = "FILE")]
    expect: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Html,
    Markdown,
}

/// The code for files that are no results.
const UNUSABLE: u8 = 2;

/// Writes the report, and exits with the run's verdict.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let matrix = match collect(&args) {
        Ok(matrix) => matrix,
        Err(error) => {
            terminal::error(&format!("error: {error:#}\n"));
            return Ok(ExitCode::from(UNUSABLE));
        }
    };
    match args.output.is_empty() {
        true => terminal::output(&render(&matrix, args.format.unwrap_or(Format::Markdown)))?,
        false => args.output.iter().try_for_each(|path| write(&matrix, path, args.format))?,
    }
    terminal::error(&matrix.verdict_lines());
    Ok(ExitCode::from(u8::from(!matrix.counts.is_good())))
}

fn collect(args: &Args) -> anyhow::Result<Matrix> {
    let inputs = Inputs::find(&args.paths)?;
    let mut expected = Vec::new();
    for path in &args.expect {
        let text = std::fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))?;
        expected.extend(expected::parse(&text).with_context(|| format!("`{}`", path.display()))?);
    }
    Matrix::of(inputs, &expected)
}

fn write(matrix: &Matrix, path: &Path, format: Option<Format>) -> anyhow::Result<()> {
    let by_name = match path.extension().and_then(|extension| extension.to_str()) {
        Some("html" | "htm") => Some(Format::Html),
        Some("md" | "markdown") => Some(Format::Markdown),
        _ => format,
    };
    let format = by_name.unwrap_or(Format::Html);
    std::fs::write(path, render(matrix, format)).with_context(|| format!("failed to write `{}`", path.display()))
}

fn render(matrix: &Matrix, format: Format) -> String {
    match format {
        Format::Html => page::page(matrix),
        Format::Markdown => markdown::summary(matrix),
    }
}
