//! `lvh exec`: one command in a throw-away VM for each kernel.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use lvh_core::HostContext;
use lvh_core::config::parse_duration;

use crate::vm::vm_command::{VmArgs, VmCommand};

const EXAMPLES: &str = "\
Examples:
  lvh exec uname -r                                  on the default kernel of lvh.toml, else 6.12
  lvh exec                                           a shell
  lvh exec --kernel 5.10 --kernel 6.1 -- ./probe -v  on two kernels, one after the other
  lvh exec --kernel ../linux --cpus 4 --memory 2G -- make -C selftests run
  lvh exec --kernel deb:linux-image-amd64@sid --timeout 2m -- sh -c 'dmesg | tail'
  lvh exec --image base --kernel 6.1 -- ./probe      with the root file system of a disk image

The command gets a terminal where lvh has one at both its standard input and its standard output; else its streams are
kept apart, and standard input is passed on as it is.

A kernel is a name of lvh.toml, `host`, a path (with a slash), `deb:PACKAGE@SUITE[=VERSION]`, or one of Debian's
long-term kernels: 5.10, 6.1, 6.12.

An image is a name of lvh.toml or a path. Its disk is never written to. The guest sees the workspace around the working
directory as well; all else is the image's own.";

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
    let mut context = HostContext::here()?;
    let quiet = args.vm.quiet;
    let on = args.vm.resolve(&context.cwd)?;
    let command = if args.command.is_empty() { shell(on.image.is_some()) } else { args.command };
    let program = program_file(&command, on.image.is_some());
    if let Some(program) = &program {
        context.exe.clone_from(program);
    }
    VmCommand { on, timeout: args.timeout, context, writable: Vec::new(), profiles: None, program, command, quiet }
        .run()
}

/// The shell of who asks for none in particular.
fn shell(on_image: bool) -> Vec<OsString> {
    let bash = Path::new("/bin/bash").exists();
    match on_image {
        // What the image has, it knows itself.
        true => ["/bin/sh", "-c", "command -v bash >/dev/null && exec bash; exec sh"].map(OsString::from).into(),
        false => vec![if bash { "/bin/bash" } else { "/bin/sh" }.into()],
    }
}

/// The program's file on this machine: it is to be packed, or shown, where a guest does not see the host's files. On an
/// image, a bare name is one of the image's programs.
fn program_file(command: &[OsString], on_image: bool) -> Option<PathBuf> {
    let program = Path::new(command.first()?);
    if program.components().count() > 1 {
        return std::path::absolute(program).ok().filter(|program| !on_image || program.is_file());
    }
    if on_image {
        return None;
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|file| file.is_file())
}
