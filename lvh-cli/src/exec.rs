//! `lvh exec`: one command in a throw-away VM for each kernel.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use lvh_core::config::{Memory, parse_duration};
use lvh_core::guest::protocol::Command;
use lvh_core::guest::wire::Bytes;
use lvh_core::kernel::{self, KernelSource};
use lvh_core::vm::{Vm, VmSpec};
use lvh_core::{Config, Error, ErrorKind, Events, Place};

use crate::relay::{Ended, Signals};
use crate::{relay, terminal};

const EXAMPLES: &str = "\
Examples:
  lvh exec uname -r                                  on the default kernel of lvh.toml, else 6.12
  lvh exec --kernel 5.10 --kernel 6.1 -- ./probe -v  on two kernels, one after the other
  lvh exec --kernel ../linux --cpus 4 --memory 2G -- make -C selftests run
  lvh exec --kernel deb:linux-image-amd64@sid --timeout 2m -- sh -c 'dmesg | tail'

A kernel is a name of lvh.toml, `host`, a path (with a slash), `deb:PACKAGE@SUITE[=VERSION]`, or one of Debian's
long-term kernels: 5.10, 6.1, 6.12.";

/// Run a command in a throw-away VM that sees this machine's files read-only.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Kernel to run on; several are run one after the other [default: `default-kernels` of lvh.toml]
    #[arg(long = "kernel", short = 'k', value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Virtual CPUs [default: 2 with KVM, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    cpus: Option<u32>,
    /// Guest memory, such as 512M or 2G [default: 1G]
    #[arg(long, value_name = "SIZE")]
    memory: Option<Memory>,
    /// How long the command may take, such as 500ms, 60s or 2m [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// What to run, with every name resolved.
#[derive(Debug)]
struct Request {
    config: Config,
    kernels: Vec<(String, KernelSource)>,
    timeout: Option<Duration>,
    command: Vec<OsString>,
}

/// Runs the command on every kernel; the code is the first that is not 0.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let dir = std::env::current_dir().context("failed to find the working directory")?;
    let request = Request::new(args, Config::for_process(&dir)?)?;
    run_in_vms(&request, &terminal::events())
}

impl Request {
    fn new(args: Args, mut config: Config) -> lvh_core::Result<Self> {
        config.vm.cpus = args.cpus.or(config.vm.cpus);
        config.vm.memory = args.memory.unwrap_or(config.vm.memory);
        let names = match args.kernels.is_empty() {
            true => config.default_kernels.clone(),
            false => args.kernels.into_iter().map(from_here).collect(),
        };
        let kernels = names.into_iter().map(|name| config.kernel(&name).map(|source| (name, source)));
        Ok(Self {
            kernels: kernels.collect::<lvh_core::Result<_>>()?,
            timeout: args.timeout,
            command: args.command,
            config,
        })
    }
}

/// A path on the command line starts at the working directory, as everywhere in a shell; one in `lvh.toml` starts there.
fn from_here(name: String) -> String {
    let is_path = name.contains('/') && !name.contains(':');
    let absolute = is_path.then(|| std::path::absolute(&name).ok()).flatten();
    absolute.and_then(|path| path.into_os_string().into_string().ok()).unwrap_or(name)
}

/// Boots one VM after the other and runs the command in it.
fn run_in_vms(request: &Request, events: &Events) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(run_on_all(request, events));
    // A thread that waits for a terminal's input cannot be stopped, and need not be.
    runtime.shutdown_background();
    result.map(ExitCode::from)
}

/// The first exit code that is not 0.
async fn run_on_all(request: &Request, events: &Events) -> anyhow::Result<u8> {
    let mut signals = Signals::take()?;
    let mut first_failure = 0;
    for (name, source) in &request.kernels {
        let (code, interrupted) = run_on(request, name, source, events, &mut signals).await?;
        first_failure = if first_failure == 0 { code } else { first_failure };
        if request.kernels.len() > 1 {
            events.note(format!("kernel `{name}`: exit code {code}"));
        }
        if interrupted {
            break;
        }
    }
    Ok(first_failure)
}

/// Runs the command on one kernel: its exit code, and whether the user wants no more.
async fn run_on(
    request: &Request,
    name: &str,
    source: &KernelSource,
    events: &Events,
    signals: &mut Signals,
) -> anyhow::Result<(u8, bool)> {
    let place = Place::here()?;
    let vm = tokio::select! {
        vm = boot(request, name, source, &place, events) => vm?,
        signal = signals.next() => return Ok((relay::code_of_signal(signal), true)),
    };
    let process = vm.run(command(request, &place)).await?;
    let Ended { code, interrupted } = relay::run(process, request.timeout, signals).await?;
    let Some(code) = code else {
        let why = Error::new(ErrorKind::Guest, format!("the guest died: {}", vm.died().await));
        return Err(why.with_output(vm.console_tail()).into());
    };
    vm.shutdown().await?;
    Ok((code, interrupted))
}

async fn boot(
    request: &Request,
    name: &str,
    source: &KernelSource,
    place: &Place,
    events: &Events,
) -> lvh_core::Result<Vm> {
    let config = &request.config;
    let store = config.store()?;
    let spec = VmSpec {
        visible: place.visible(&[]),
        packed_directories: vec![place.cwd.clone()],
        packed: program_file(&request.command).into_iter().collect(),
        ..VmSpec::new(kernel::resolve(name, source, &store, events).await?, config)
    };
    Vm::boot(&spec, &store, events).await
}

fn command(request: &Request, place: &Place) -> Command {
    let bytes = |text: &OsStr| Bytes(text.as_bytes().to_vec());
    Command {
        argv: request.command.iter().map(|word| bytes(word)).collect(),
        env: place.guest_env(&request.config.vm.env).iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
        cwd: bytes(place.cwd.as_os_str()),
        stdin: true,
        merged: false,
        report: false,
    }
}

/// The file of the program, for a guest that cannot see the host's files.
fn program_file(command: &[OsString]) -> Option<PathBuf> {
    let program = Path::new(command.first()?);
    if program.components().count() > 1 {
        return std::path::absolute(program).ok();
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|file| file.is_file())
}
