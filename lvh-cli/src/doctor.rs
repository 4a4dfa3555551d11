//! `lvh doctor`: what this machine or a kernel has and lacks, and how to mend it.

mod kernel;
mod machine;
mod table;

use std::process::ExitCode;

use anyhow::Context as _;
use lvh_core::Config;

use crate::terminal;

const AFTER_HELP: &str = "\
Examples:
  lvh doctor                          this machine
  lvh doctor --kernel 6.12            how Debian's 6.12 would run here, and what it has for BPF
  lvh doctor -k ../linux -k host      two kernels: a build tree, and the one that runs here
  LVH_ACCEL=kvm lvh doctor            in CI: fails where KVM does not work, too

Without --kernel nothing is changed, and QEMU runs for a moment to try KVM. With --kernel the kernel is fetched where it
is not in the data directory yet, unless LVH_OFFLINE=1.

Exit codes: 0 where lvh can run (can boot every kernel), 1 where not; warnings do not count. 2 for a name that nothing
knows.";

/// Check what this machine, or a kernel on it, has and lacks for running VMs, and how to mend it.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Look at this kernel instead of the machine; may be given several times
    #[arg(long = "kernel", short = 'k', value_name = "KERNEL")]
    kernels: Vec<String>,
}

/// Prints the tables; the code says whether lvh can run here.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let dir = std::env::current_dir().context("failed to find the working directory")?;
    let config = Config::for_process(&dir)?;
    let healthy = match args.kernels.is_empty() {
        true => machine::run(&config)?,
        false => kernel::run(&config, args.kernels)?,
    };
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints one report.
fn show(text: &str) -> anyhow::Result<()> {
    terminal::output(text).context("failed to write to stdout")
}
