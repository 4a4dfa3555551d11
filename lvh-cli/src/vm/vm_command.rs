//! A command in a throw-away VM for each kernel: what `lvh exec` and `lvh runner` have in common.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use lvh_core::config::{Init, Memory};
use lvh_core::kernel::{self, KernelSource};
use lvh_core::vm::{Command, Vm, VmSpec};
use lvh_core::{Arch, Config, Error, ErrorKind, Events, HostContext, ImageSource, image};

use crate::fetch_kernel;
use crate::terminal::{self, RawTerminal};
use crate::vm::relay::{self, Ended, Signals};

/// What VMs are to be.
#[derive(Debug, clap::Args)]
pub(crate) struct VmArgs {
    /// Kernel to run on; several are run one after the other [default: `default-kernels` of lvh.toml]
    #[arg(long = "kernel", short = 'k', value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Image whose disk is the root file system: a name of lvh.toml, or a path [default: this machine's root]
    #[arg(long, short, value_name = "IMAGE")]
    image: Option<String>,
    /// Which program is the guest's first process: lvh's own, or the image's systemd
    #[arg(long, value_name = "INIT", requires = "image", default_value = "lvh")]
    init: Init,
    /// Virtual CPUs [default: 2 with KVM, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    cpus: Option<u32>,
    /// Guest memory, such as 512M or 2G [default: `memory` of lvh.toml, else 1G, or less in a small container]
    #[arg(long, value_name = "SIZE")]
    memory: Option<Memory>,
    /// Kernel module to load before the command; may be given several times
    #[arg(long = "module", value_name = "MODULE")]
    modules: Vec<String>,
    /// Appended to the kernel's command line, such as lsm=bpf
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    kernel_args: Option<String>,
    /// Take the kernels that lvh.lock names, and resolve none anew
    #[arg(long)]
    locked: bool,
    /// Network: the guest reaches what this machine reaches, and this machine at 10.0.2.2 [default: `network` of lvh.toml]
    #[arg(long)]
    network: bool,
    /// The kernel's headers, for builds of modules: /lib/modules/RELEASE/build [default: `headers` of lvh.toml]
    #[arg(long)]
    headers: bool,
    /// Say nothing of the VM unless something fails
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Tell of every VM, also of one that goes on from a snapshot, and where the time of its start went
    #[arg(long, short, conflicts_with = "quiet")]
    verbose: bool,
}

impl VmArgs {
    /// The configuration that holds in `dir` with these on top, and where kernels and image come from.
    pub(crate) fn resolve(self, dir: &Path) -> lvh_core::Result<Resolved> {
        let mut config = Config::for_process(dir)?;
        config.locked |= self.locked;
        config.verbose |= self.verbose;
        config.vm.cpus = self.cpus.or(config.vm.cpus);
        config.vm.memory = self.memory.or(config.vm.memory);
        config.vm.network |= self.network;
        config.vm.headers |= self.headers;
        config.vm.modules.extend(self.modules);
        config.vm.kernel_args =
            [config.vm.kernel_args, self.kernel_args.unwrap_or_default()].join(" ").trim().to_owned();
        let image = self.image.map(from_here);
        let image = image.map(|name| config.image(&name).map(|source| (name, source))).transpose()?;
        let names = match self.kernels.is_empty() {
            true => config.default_kernels.clone(),
            false => self.kernels.into_iter().map(from_here).collect(),
        };
        let kernels = names.into_iter().map(|name| config.kernel(&name).map(|source| (name, source)));
        let kernels = kernels.collect::<lvh_core::Result<_>>()?;
        Ok(Resolved { config, kernels, image, init: self.init })
    }
}

/// What VMs are to be, with every name resolved.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) config: Config,
    pub(crate) kernels: Vec<(String, KernelSource)>,
    /// None: the root is this machine's.
    pub(crate) image: Option<(String, ImageSource)>,
    /// What the guest's first process is.
    pub(crate) init: Init,
}

/// A path on the command line starts at the working directory, as everywhere in a shell; one in `lvh.toml` starts there.
pub(crate) fn from_here(name: String) -> String {
    let is_path = name.contains('/') && !name.contains(':');
    let absolute = is_path.then(|| std::path::absolute(&name).ok()).flatten();
    absolute.and_then(|path| path.into_os_string().into_string().ok()).unwrap_or(name)
}

/// What to run, and on what.
#[derive(Debug)]
pub(crate) struct VmCommand {
    pub(crate) on: Resolved,
    /// How long the command may take.
    pub(crate) timeout: Option<Duration>,
    /// What it finds around itself.
    pub(crate) context: HostContext,
    /// Host directories that it may write to.
    pub(crate) writable: Vec<PathBuf>,
    /// Where the host has coverage profiles.
    pub(crate) profiles: Option<PathBuf>,
    /// The file of the program, for a guest that cannot see the host's files.
    pub(crate) program: Option<PathBuf>,
    pub(crate) command: Vec<OsString>,
    /// Nothing but failures is told.
    pub(crate) quiet: bool,
}

impl VmCommand {
    /// Boots one VM after the other and runs the command in it; the code is the first that is not 0.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let events = match self.quiet {
            true => Events::silent(),
            false => terminal::events().with_news_only(self.on.config.verbose),
        };
        let result = runtime.block_on(self.run_on_all(&events));
        // A thread that waits for a terminal's input cannot be stopped, and need not be.
        runtime.shutdown_background();
        result.map(ExitCode::from)
    }

    async fn run_on_all(&self, events: &Events) -> anyhow::Result<u8> {
        let mut signals = Signals::take()?;
        let mut first_failure = 0;
        for (name, source) in &self.on.kernels {
            let (code, interrupted) = self.run_on(name, source, events, &mut signals).await?;
            first_failure = if first_failure == 0 { code } else { first_failure };
            if self.on.kernels.len() > 1 {
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
        &self,
        name: &str,
        source: &KernelSource,
        events: &Events,
        signals: &mut Signals,
    ) -> anyhow::Result<(u8, bool)> {
        let vm = tokio::select! {
            vm = self.boot(name, source, events) => vm?,
            signal = signals.next() => return Ok((relay::code_of_signal(signal), true)),
        };
        let terminal = RawTerminal::enter()?;
        let process = vm.spawn(&self.command(&vm, terminal.as_ref())).await?;
        let Ended { code, interrupted, stuck } = relay::run(process, self.timeout, signals).await?;
        drop(terminal);
        let Some(code) = code else {
            return Err(vm.death().await.into());
        };
        if stuck {
            // Killed when dropped.
            return Ok((code, interrupted));
        }
        vm.write_back().await?.into_iter().for_each(|problem| events.note(problem));
        vm.shutdown().await?;
        Ok((code, interrupted))
    }

    async fn boot(&self, name: &str, source: &KernelSource, events: &Events) -> lvh_core::Result<Vm> {
        let Resolved { config, image, .. } = &self.on;
        let store = fetch_kernel::store(config)?;
        let kernel = kernel::resolve(name, source, &store, events).await?;
        let program = self.program_for(kernel.arch)?;
        let headers = match config.vm.headers {
            true => Some(kernel::headers(&kernel, source, &store, events).await?),
            false => None,
        };
        let mut spec = headers.into_iter().fold(VmSpec::new(kernel, config), VmSpec::headers);
        if let Some((name, source)) = image {
            spec = spec.image(&image::resolve(name, source, &store, events).await?);
        }
        if self.on.init == Init::Systemd {
            spec = spec.systemd();
        }
        let spec = spec
            .shows(&self.context)
            .writable(self.writable.clone())
            .profiles(self.profiles.clone())
            .packed_directories(vec![self.context.cwd.clone()])
            .packed(program.into_iter().cloned().collect());
        Vm::boot(&spec, &store, events).await
    }

    /// This machine's program, for a guest that can run it. Where an image has one of its name, that is what a guest of another
    /// architecture runs.
    fn program_for(&self, arch: Arch) -> lvh_core::Result<Option<&PathBuf>> {
        let Some(program) = &self.program else { return Ok(None) };
        match Arch::of_program(program).filter(|own| *own != arch) {
            None => Ok(Some(program)),
            Some(_) if self.on.image.is_some() => Ok(None),
            Some(own) => {
                let message = format!("`{}` is a program of {own}, and the kernel of {arch}", program.display());
                let hint = format!(
                    "build it for {arch}; or `--kernel` names a kernel of {own}, or `--image` a disk with programs of {arch}"
                );
                Err(Error::new(ErrorKind::Usage, message).with_hint(hint))
            }
        }
    }

    fn command(&self, vm: &Vm, terminal: Option<&RawTerminal>) -> Command {
        let [program, arguments @ ..] = &self.command[..] else { unreachable!("the command line has a program") };
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(self.context.guest_env(vm.root(), &self.on.config.vm.env));
        command.current_dir(&self.context.cwd).stdin_piped();
        if let Some(terminal) = terminal {
            command.terminal(terminal.size());
        }
        command
    }
}
