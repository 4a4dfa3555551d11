//! `lvh exec`: one command in a throw-away VM for each kernel.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use lvh_core::HostContext;
use lvh_core::config::parse_duration;

use crate::vm_command::{VmArgs, VmCommand};

const EXAMPLES: &str = "\
Examples:
  lvh exec uname -r                                  on the default kernel of lvh.toml, else 6.12
  lvh exec                                           a shell
  lvh exec --kernel 5.10 --kernel 6.1 -- ./probe -v  on two kernels, one after the other
  lvh exec --kernel ../linux --cpus 4 --memory 2G -- make -C selftests run
  lvh exec --kernel deb:linux-image-amd64@sid --timeout 2m -- sh -c 'dmesg | tail'

The command gets a terminal where lvh has one at both its standard input and its standard output; else its streams are
kept apart, and standard input is passed on as it is.

A kernel is a name of lvh.toml, `host`, a path (with a slash), `deb:PACKAGE@SUITE[=VERSION]`, or one of Debian's
long-term kernels: 5.10, 6.1, 6.12.";

/// Run a command in a throw-away VM that sees this machine's files read-only.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    vm: VmArgs,
    /// How long the command may take, such as 500ms, 60s or 2m [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// The command and its arguments [default: a shell]
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the command on every kernel; the code is the first that is not 0.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let context = HostContext::here()?;
    let quiet = args.vm.quiet;
    let (config, kernels) = args.vm.resolve(&context.cwd)?;
    let command = if args.command.is_empty() { vec![shell().into()] } else { args.command };
    let program = program_file(&command);
    VmCommand {
        config,
        kernels,
        timeout: args.timeout,
        context,
        writable: Vec::new(),
        profiles: None,
        program,
        command,
        quiet,
    }
    .run()
}

/// The shell of who asks for none in particular.
fn shell() -> &'static str {
    if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" }
}

/// The file of the program, for a guest that cannot see the host's files.
fn program_file(command: &[OsString]) -> Option<PathBuf> {
    let program = Path::new(command.first()?);
    if program.components().count() > 1 {
        return std::path::absolute(program).ok();
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|file| file.is_file())
}
