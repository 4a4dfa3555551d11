//! `lvh run`: boots an image as the lvh that was written in Go did: we become QEMU.

mod arguments;
mod file_system;
mod image;
mod kernel;
mod own_kernel;

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::Context as _;
use lvh_core::{Error, ErrorKind, run};

pub(crate) use arguments::Args;

use crate::terminal;

/// Shows QEMU's command line where that is asked for, and becomes it.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let since = Instant::now();
    let (print_only, verbose) = (args.qemu_cmd_print, args.verbose);
    let config = args.resolve()?;
    if !print_only {
        run::check(&config)?;
    }
    let (program, words) = (run::program(config.arch), run::arguments(&config));
    if print_only || verbose {
        let mut line = run::for_a_shell(program, &words);
        line.push("\n");
        terminal::output_bytes(line.as_bytes()).context("failed to write to stdout")?;
    }
    let failed = match print_only {
        true => None,
        // Returns where it fails: all that QEMU does and says from now on is its own.
        false => Some(Command::new(program).args(words).exec()),
    };
    terminal::error(&format!("Execution took {}ms\n", since.elapsed().as_millis()));
    failed.map_or(Ok(ExitCode::SUCCESS), |error| Err(not_started(program, error).into()))
}

fn not_started(program: &str, error: std::io::Error) -> Error {
    let failed = Error::new(ErrorKind::Missing, "Qemu exited with an error");
    match error.kind() {
        std::io::ErrorKind::NotFound => failed
            .with_source(Error::new(ErrorKind::Missing, format!("`{program}` was not found in PATH")))
            .with_hint("`lvh doctor` says how to install it"),
        _ => failed.with_source(Error::io(format_args!("start `{program}`"), error)),
    }
}
