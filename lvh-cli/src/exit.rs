//! Exit codes, and the report that goes with a failure.

use std::process::ExitCode;

use clap::error::ContextKind;
use lvh_core::{Error, ErrorKind};

use crate::terminal;

/// Examples and codes as `--help` shows them.
pub(crate) const HELP: &str = "\
Examples:
  lvh doctor                              what this machine lacks
  lvh doctor --kernel 6.12                how that kernel would run here, and what it has for BPF
  lvh exec --kernel 6.1 -- uname -r       a command in a VM
  lvh help exec                           more of a command

Exit codes:
  0    success
  2    usage: a wrong flag, name or lvh.toml
  125  setup failed: no QEMU, no kernel, no boot, a guest that died
  `lvh exec`, `runner` and `attach` pass on the code of their command, with 124 for one that took too long, 127 for one
  that did not start and 128+N for one that signal N killed; `lvh doctor` exits with 1 where lvh cannot run,
  `lvh report` with 1 where a test failed or did not run.
  `lvh run` exits as QEMU does; it, `lvh kernels`, `images` and `version` exit with 1 for every error, as they always did.";

/// The code that clap uses as well.
const USAGE: u8 = 2;
/// The only code for errors of commands that scripts know from the Go tool.
const GO_STYLE: u8 = 1;
/// As with `docker run` and `timeout`: the tool failed, not what it should run.
const SETUP: u8 = 125;

/// Prints why the command failed, and says with which code to exit.
pub(crate) fn report(error: &anyhow::Error, go_style: bool) -> ExitCode {
    let core = error.downcast_ref::<Error>();
    let text = core.map_or_else(|| format!("{error:#}"), Error::report);
    terminal::error(&format!("error: {text}\n"));
    ExitCode::from(if go_style { GO_STYLE } else { code(core.map(Error::kind)) })
}

/// Prints what is wrong with the command line, or the help that it asks for, and says with which code to exit.
pub(crate) fn explain(error: &clap::Error, go_style: bool) -> ExitCode {
    match error.get(ContextKind::InvalidArg) {
        Some(flag) if go_style && error.kind() == clap::error::ErrorKind::UnknownArgument => {
            terminal::error(&format!("error: unknown flag: {flag}\n{}", suggestion(error)));
        }
        // A closed terminal is no reason for another code.
        _ => drop(error.print()),
    }
    match error.use_stderr() {
        false => ExitCode::SUCCESS,
        true => ExitCode::from(if go_style { GO_STYLE } else { USAGE }),
    }
}

fn suggestion(error: &clap::Error) -> String {
    error.get(ContextKind::SuggestedArg).map(|flag| format!("\nhint: there is `{flag}`\n")).unwrap_or_default()
}

fn code(kind: Option<ErrorKind>) -> u8 {
    if kind == Some(ErrorKind::Usage) { USAGE } else { SETUP }
}
