//! `lvh runner`: cargo's test binaries in VMs, unchanged.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use lvh_core::HostContext;

use crate::vm::vm_command::{VmArgs, VmCommand};

const EXAMPLES: &str = "\
Examples:
  export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER='lvh runner'
  cargo test                                         any crate's tests, in VMs
  LVH_KERNELS=5.10,6.12 cargo test -- maps           on two kernels, one after the other
  cargo nextest run                                  a VM for each test

  CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER='lvh runner --kernel 6.1 --memory 2G' cargo test

What the tests write to `target/tmp` and their coverage profiles come home; all other files are this machine's,
read-only below memory of the guest's. `--list` runs nothing of a test, so it runs on this machine. In a VM of lvh
the program runs as it is.";

/// Run a test binary of cargo's in a throw-away VM: for CARGO_TARGET_<triple>_RUNNER.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    vm: VmArgs,
    /// The program, as cargo gives it
    #[arg(value_name = "BIN")]
    program: PathBuf,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

/// Whether this is a VM of lvh's, where a test started cargo, whose configuration names the runner: it is on its kernel.
fn is_guest() -> bool {
    fs::read_to_string("/proc/cmdline").is_ok_and(|words| words.contains(" -- channel="))
}

/// Runs the program on every kernel; the code is the first that is not 0.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let program = std::path::absolute(&args.program)?;
    if args.arguments.iter().any(|argument| argument == "--list") || is_guest() {
        let failed = Command::new(&program).args(&args.arguments).exec();
        return Err(failed).with_context(|| format!("failed to run `{}`", program.display()));
    }
    let context = HostContext { exe: program.clone(), ..HostContext::here()? };
    let quiet = args.vm.quiet;
    let mut on = args.vm.resolve(&context.cwd)?;
    // The host's libraries are the guest's too, and cargo says with it where those of the build are. An image has its own.
    if on.image.is_none() {
        on.config.vm.env.push("LD_LIBRARY_PATH".parse().expect("a plain name is a pattern"));
    }
    let unwritable = "failed to make a directory that tests may write to";
    let (writable, profiles) = (context.writable().context(unwritable)?, context.profiles().context(unwritable)?);
    let command = std::iter::once(program.clone().into()).chain(args.arguments).collect();
    VmCommand { on, timeout: None, context, writable, profiles, program: Some(program), command, quiet }.run()
}
