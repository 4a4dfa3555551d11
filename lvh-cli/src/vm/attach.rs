//! `lvh attach`: a shell in a VM that a test run retains, or that `lvh run` gave an agent.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use lvh_core::config::parse_duration;
use lvh_core::vm::Command;
use lvh_core::vm::attach::{self, Entered};
use lvh_core::{Error, ErrorKind};

use crate::terminal::{self, RawTerminal};
use crate::vm::relay::{self, Ended, Signals};

const EXAMPLES: &str = "\
Examples:
  LVH_KEEP=1 cargo test maps     keeps the VMs of tests that fail, and waits
  lvh attach                     a shell in the one there is, or a list of them
  lvh attach 4711.1              a shell in that one
  lvh attach 4711.1 -- dmesg     a command
  lvh attach ./vm.agent -- true  a command in the VM of `lvh run --agent ./vm.agent`, as soon as its agent answers

The shell starts in the test's directory, with its environment; in a VM of `lvh run` it is root's, and what it leaves in the
background goes on.";

/// Enter the VM of a failed test, which a run under LVH_KEEP=1 retains, or one of `lvh run --agent`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which VM, as `lvh attach --list` and the test run name it, or the path of an agent's socket, with a slash [default: the
    /// only one of a test]
    #[arg(value_name = "VM")]
    id: Option<String>,
    /// How long to wait until an agent answers, such as 2m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    wait: Duration,
    /// List the VMs that can be entered
    #[arg(long)]
    list: bool,
    /// A command in place of a shell
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Enters, or lists.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(enter_or_list(args));
    // As in `lvh exec`.
    runtime.shutdown_background();
    result
}

async fn enter_or_list(args: Args) -> anyhow::Result<ExitCode> {
    if args.list {
        terminal::output(&table(&all().await?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let entered = match &args.id {
        Some(path) if path.contains('/') => attach::connect(Path::new(path), args.wait).await?,
        Some(id) => attach::enter(id).await?,
        None => only(all().await?)?,
    };
    let code = converse(&entered, args.command).await;
    entered.leave().await;
    code
}

/// All VMs of this user's that can be entered.
async fn all() -> anyhow::Result<Vec<(String, Entered)>> {
    let mut found = Vec::new();
    for id in attach::list().context("failed to list the sockets of this machine")? {
        // One that ends at this moment is no longer there.
        if let Ok(entered) = attach::enter(&id).await {
            found.push((id, entered));
        }
    }
    Ok(found)
}

fn table(vms: &[(String, Entered)]) -> String {
    let width = vms.iter().map(|(id, _)| id.len()).max().unwrap_or_default();
    vms.iter().map(|(id, entered)| format!("{id:<width$}  {}\n", entered.offer.title)).collect()
}

fn only(mut vms: Vec<(String, Entered)>) -> lvh_core::Result<Entered> {
    match (vms.pop(), vms.len()) {
        (Some((_, entered)), 0) => Ok(entered),
        (None, _) => Err(Error::new(ErrorKind::Usage, "there is no VM to enter")
            .with_hint("LVH_KEEP=1 makes a test run keep its failed tests' VMs")),
        (Some(last), _) => {
            vms.push(last);
            let message = format!("there are {} VMs to enter", vms.len());
            Err(Error::new(ErrorKind::Usage, message).with_output(table(&vms)).with_hint("name one: lvh attach VM"))
        }
    }
}

/// Runs the shell or the user's command there.
async fn converse(entered: &Entered, words: Vec<OsString>) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::take()?;
    let terminal = RawTerminal::enter()?;
    let process = entered.spawn(&command(entered, &words, terminal.as_ref())).await?;
    let Ended { code, .. } = relay::run(process, None, &mut signals).await?;
    drop(terminal);
    let gone =
        || Error::new(ErrorKind::Guest, "the VM is gone: the guest powered off or died, or who started it was ended");
    Ok(ExitCode::from(code.ok_or_else(gone)?))
}

fn command(entered: &Entered, words: &[OsString], terminal: Option<&RawTerminal>) -> Command {
    let mut command = entered.offer.shell.clone();
    if let [program, arguments @ ..] = words {
        command.replace_program(program).args(arguments);
    }
    if let Some(term) = std::env::var_os("TERM") {
        command.env("TERM", term);
    }
    if let Some(terminal) = terminal {
        command.terminal(terminal.size());
    }
    command
}
