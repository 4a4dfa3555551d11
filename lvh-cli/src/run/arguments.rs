//! The flags, by the rules of the Go tool, and what they mean.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lvh_core::config::Accel;
use lvh_core::image::has_boot_sector;
use lvh_core::run::{self, Agent, Port, RootDevice, RunConfig};
use lvh_core::vm::Hypervisor;
use lvh_core::{Arch, Config, Error, ErrorKind, Result};

use super::image;
use super::kernel::{Boot, Wanted};
use crate::go_style::as_switch;
use crate::{fetch_kernel, terminal};

const EXAMPLES: &str = "\
Examples:
  lvh run --image _data/images/base.qcow2
  lvh run --image base.qcow2 --kernel ./bzImage --append 'lsm=bpf init=/bin/sh'
  lvh run --image base.qcow2 --host-mount . -p 2222:22 --daemonize --console-log-file console.log
  lvh run --image base.qcow2 --agent ./vm.agent     for: lvh attach ./vm.agent -- uname -r
  lvh run --image quay.io/lvh-images/kind:6.6-main
  lvh run --image base.qcow2 --rw                   what the guest writes stays in the image
  lvh run --image base.qcow2 --qemu-cmd-print       QEMU's command line, for a shell

On a terminal, Ctrl-A X ends QEMU, and Ctrl-A C leads to its monitor and back.
The exit code is QEMU's, which is 0 also where the guest's kernel panics; 1 for every error before.";

/// Boot an image in QEMU, with its own boot loader or with a kernel, and leave the image as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_override_self = true, mut_args(as_switch))]
pub(crate) struct Args {
    /// The image: a file, the name of one in `images/` of --dir or in lvh.toml, or one to pull from a registry to there [mandatory]
    #[arg(long, value_name = "IMAGE", allow_hyphen_values = true, value_hint = clap::ValueHint::FilePath)]
    image: Option<OsString>,
    /// The data directory, with images in `images/`
    #[arg(long, value_name = "DIR", default_value = "_data", allow_hyphen_values = true,
        value_hint = clap::ValueHint::DirPath)]
    dir: OsString,
    /// Pull the image where there is no such file [default: true]
    #[arg(long, default_value = "true")]
    pull_image: bool,
    /// The guest may change the image: else what it writes is gone at the end
    #[arg(long)]
    rw: bool,
    /// The guest may not change the image, which is the default
    #[arg(long)]
    snapshot: bool,
    /// Kernel to boot with, a file or a name as of `lvh exec` [default: the boot loader in the image]
    #[arg(long, value_name = "KERNEL", allow_hyphen_values = true, value_hint = clap::ValueHint::FilePath)]
    kernel: Option<OsString>,
    /// Words for the kernel, behind lvh's own; may be given several times
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    append: Vec<String>,
    /// The directory that is /lib/modules/RELEASE of the kernel, for the guest to mount: 9p tag kernel_modules
    #[arg(long, value_name = "DIR", allow_hyphen_values = true, value_hint = clap::ValueHint::DirPath)]
    kernel_modules: Option<OsString>,
    /// A directory for the guest to mount: 9p tag host_mount
    #[arg(long, value_name = "DIR", allow_hyphen_values = true, value_hint = clap::ValueHint::DirPath)]
    host_mount: Option<OsString>,
    /// Give the guest lvh's agent, and make SOCKET, by which `lvh attach` enters it
    #[arg(long, value_name = "SOCKET", allow_hyphen_values = true, value_hint = clap::ValueHint::FilePath)]
    agent: Option<OsString>,
    /// Forward a port of this machine's loopback, or of ADDRESS: [ADDRESS:]HOST[:GUEST[:tcp|udp]]; may be given several times
    #[arg(long = "port", short = 'p', value_name = "PORT", allow_hyphen_values = true)]
    ports: Vec<String>,
    /// Virtual CPUs
    #[arg(long, value_name = "N", default_value = "2", value_parser = parse_number::<u32>)]
    cpu: u32,
    /// Guest memory, as QEMU's -m takes it
    #[arg(long, value_name = "SIZE", default_value = "4G", allow_hyphen_values = true)]
    mem: String,
    /// QEMU's name of the processor, such as host [default: kvm64 with KVM, max on arm64, else QEMU's own]
    #[arg(long, value_name = "CPU", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    cpu_kind: String,
    /// Whose machine it is: amd64 or arm64 [default: this machine's]
    #[arg(long, value_name = "ARCH", allow_hyphen_values = true)]
    qemu_arch: Option<String>,
    /// How the disk is connected: hda or vda
    #[arg(long, value_name = "DEVICE", default_value = "vda", allow_hyphen_values = true)]
    root_dev: String,
    /// No hardware acceleration, even where KVM works
    #[arg(long)]
    no_hw_accel: bool,
    /// QEMU goes to the background once the VM is set up
    #[arg(long)]
    daemonize: bool,
    /// File for the console's output
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, value_hint = clap::ValueHint::FilePath)]
    console_log_file: Option<OsString>,
    /// Telnet port for the console; 0: none
    #[arg(long, value_name = "PORT", default_value = "0", value_parser = parse_number::<u16>)]
    serial_port: u16,
    /// Port for QEMU's monitor; 0: none
    #[arg(long, value_name = "PORT", default_value = "0", value_parser = parse_number::<u16>)]
    qemu_monitor_port: u16,
    /// Print QEMU's command line, and do not run it
    #[arg(long)]
    pub(super) qemu_cmd_print: bool,
    /// Print QEMU's command line, and run it
    #[arg(long, short)]
    pub(super) verbose: bool,
    /// The Go tool ignored them.
    #[arg(hide = true)]
    _ignored: Vec<String>,
}

impl Args {
    /// The VM that they ask for.
    pub(super) fn resolve(self) -> anyhow::Result<RunConfig> {
        let image = self.image.as_deref().ok_or_else(|| usage("required flag(s) \"image\" not set"))?;
        let ports = ports(&self.ports)?;
        let (arch, device) = (self.arch()?, self.root_dev.parse::<RootDevice>()?);
        if self.kernel.is_none() && !self.append.is_empty() {
            return Err(usage("--append needs --kernel: the boot loader in the image has words of its own").into());
        }
        if self.rw && self.snapshot {
            return Err(usage("--rw and --snapshot exclude each other").into());
        }
        let here = std::env::current_dir().map_err(|error| Error::io("find the working directory", error))?;
        let config = Config::for_process(&here)?;
        let (dir, shown_only) = (Path::new(&self.dir), self.qemu_cmd_print);
        let image = image::Wanted { dir, arch, pull: self.pull_image, shown_only, config: &config }.find(image)?;
        let needs_loader = self.kernel.as_ref().is_none_or(|kernel| kernel.is_empty()) && arch == Arch::X86_64;
        if needs_loader && !shown_only && has_boot_sector(&image.path) == Some(false) {
            return Err(no_boot_loader(&image.path).into());
        }
        let hypervisor = self.hypervisor(arch, &config)?;
        let agent = given(self.agent).map(|socket| Agent::prepare(socket, arch, &fetch_kernel::store(&config)?));
        let vm = RunConfig {
            arch,
            agent: agent.transpose()?,
            cpus: self.cpu,
            memory: self.mem,
            cpu_kind: cpu_kind(self.cpu_kind, hypervisor),
            ports,
            host_mount: given(self.host_mount),
            kernel_modules: given(self.kernel_modules),
            serial_port: Some(self.serial_port).filter(|port| *port != 0),
            console_log: given(self.console_log_file),
            monitor_port: Some(self.qemu_monitor_port).filter(|port| *port != 0),
            daemonize: self.daemonize,
            ..RunConfig::new(run::Image { writable: self.rw, device, ..image }, hypervisor)
        };
        let (modules, agent) = (vm.kernel_modules.clone(), run::agent_unit(&vm));
        let has_agent = agent.is_some();
        let wanted = Wanted { arch, device, append: self.append, modules, agent, shown_only };
        let boot = match self.kernel.filter(|kernel| !kernel.is_empty()) {
            Some(name) => Some(wanted.find(&name, &config)?),
            None if has_agent => wanted.of_image(&vm.image, &config).unwrap_or_else(|error| {
                terminal::events().note(format!("the image's boot loader starts its kernel, as lvh cannot: {error}"));
                None
            }),
            None => None,
        };
        Ok(match boot {
            Some(Boot { kernel, modules }) => RunConfig { kernel: Some(kernel), kernel_modules: modules, ..vm },
            None => vm,
        })
    }

    fn arch(&self) -> Result<Arch> {
        match self.qemu_arch.as_deref() {
            None => Ok(Arch::HOST),
            Some("amd64") => Ok(Arch::X86_64),
            Some("arm64") => Ok(Arch::Aarch64),
            Some(other) => Err(usage(format!("unsupported architecture {other} (expected amd64 or arm64)"))),
        }
    }

    /// Who executes the guest; why it is slow is told.
    fn hypervisor(&self, arch: Arch, config: &Config) -> Result<Hypervisor> {
        let accel = if self.no_hw_accel { Accel::Tcg } else { config.vm.accel };
        // Without a home directory nothing is remembered.
        let data_dir = config.data_dir().ok();
        let (hypervisor, news) = run::accelerator(accel, arch, self.cpu, data_dir.as_deref())?;
        news.into_iter().for_each(|news| terminal::events().note(news));
        Ok(hypervisor)
    }
}

/// QEMU does not start with the host's processor under TCG, and scripts ask for it wherever they run.
fn cpu_kind(kind: String, hypervisor: Hypervisor) -> Option<String> {
    if kind == "host" && hypervisor != Hypervisor::Kvm {
        terminal::events().note("`--cpu-kind host` is KVM's: without it QEMU's own is used");
        return None;
    }
    Some(kind).filter(|kind| !kind.is_empty())
}

fn ports(texts: &[String]) -> Result<Vec<Port>> {
    let ports = texts.iter().map(|text| text.parse());
    ports.collect::<Result<_>>().map_err(|error| Error::new(ErrorKind::Usage, "Port flags").with_source(error))
}

/// Of a flag, where the empty text means none, as scripts write it.
fn given(value: Option<OsString>) -> Option<PathBuf> {
    value.filter(|value| !value.is_empty()).map(Into::into)
}

/// Reads a number as Go does: also with `0x`, `0o`, `0b` or a further zero in front of it.
fn parse_number<T: TryFrom<u64>>(text: &str) -> std::result::Result<T, &'static str> {
    let lower = text.to_lowercase();
    let (digits, radix) = [("0x", 16), ("0o", 8), ("0b", 2), ("0", 8)]
        .into_iter()
        .find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix).filter(|rest| !rest.is_empty())?, radix)))
        .unwrap_or((&lower, 10));
    let number = u64::from_str_radix(digits, radix).ok().and_then(|number| T::try_from(number).ok());
    number.ok_or("expected a number that is not too large")
}

/// A firmware would find nothing to start, and say so on a screen that nobody sees.
fn no_boot_loader(image: &Path) -> Error {
    usage(format!("the image `{}` has no boot loader", image.display()))
        .with_hint("`--kernel` boots it: a name as 6.12, or a file, such as the image's own kernel")
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        let check = |text: &str, expected: Option<u16>| assert_eq!(parse_number(text).ok(), expected, "{text}");
        check("2", Some(2));
        check("0", Some(0));
        check("0x10", Some(16));
        check("0X1f", Some(31));
        check("010", Some(8));
        check("0b11", Some(3));
        check("0o17", Some(15));
        for wrong in ["", "x", "-1", "65536", "08", "0x", "1.5"] {
            check(wrong, None);
        }
    }
}
