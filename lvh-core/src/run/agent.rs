//! lvh's agent in an image that has an init of its own, and nothing of lvh: a program, a line to it, and a service of systemd.
//!
//! Where a kernel boots directly, its [initial RAM disk](super::Initramfs) brings program and service to `/run`, which any systemd
//! keeps as an initramfs leaves it. An image whose boot loader starts its kernel gets the program as a disk, and its systemd (256 or
//! newer) takes the service from QEMU: as credentials of the firmware's tables, which the kernel's `dmi-sysfs` reads
//! (systemd.system-credentials(7)). On the serial line `agent/resident.rs` of lvh-init answers to [`attach`](crate::vm::attach).

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use super::command_line::{around, escaped, pair};
use super::{RootDevice, RunConfig};
use crate::guest::initramfs::Init;
use crate::store::{Key, Store};
use crate::{Arch, Error, ErrorKind, Result};

/// An agent that a VM gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The socket that QEMU makes for whoever [enters](crate::vm::attach::connect).
    pub socket: PathBuf,
    /// Its program.
    program: PathBuf,
}

/// The credentials' names: a unit, and what starts it.
const UNIT: &str = "systemd.extra-unit.lvh-agent.service";
const WANTED: (&str, &str) = ("systemd.unit-dropin.multi-user.target", "[Unit]\nWants=lvh-agent.service\n");

impl Agent {
    /// One for guests of `arch`, to be entered by `socket`.
    ///
    /// # Errors
    /// Machines of that architecture have one serial line; lvh has no such agent, or not one that runs everywhere.
    pub fn prepare(socket: PathBuf, arch: Arch, store: &Store) -> Result<Self> {
        if arch.second_serial().is_none() {
            let message = format!("there is no agent for {arch}: QEMU's machine has no serial line for it");
            return Err(Error::new(ErrorKind::Usage, message).with_hint("ssh leads into such a guest: -p 2222:22"));
        }
        let init = Init::of(arch)?;
        if init.is_dynamic() {
            return Err(Error::new(ErrorKind::Missing, "lvh's agent needs libraries of this machine")
                .with_hint(format!("rustup target add {arch}-unknown-linux-musl, then build lvh anew")));
        }
        let entry = store.populate("agent", &Key::of([init.digest]), &|| {}, |staging| {
            let file = staging.entry().join("agent");
            fs::write(&file, init.bytes()).map_err(|error| Error::path("write", &file, error))
        })?;
        Ok(Self { socket, program: entry.path().join("agent") })
    }

    /// QEMU's arguments for it, to stand behind those of all other disks and lines.
    pub(super) fn arguments(&self, config: &RunConfig) -> Vec<OsString> {
        let line = around("socket,id=lvh-agent,path=", &escaped(self.socket.as_os_str()), ",server=on,wait=off");
        let line = [pair("-chardev", line), pair("-serial", "chardev:lvh-agent")].concat();
        if config.kernel.is_some() {
            return line;
        }
        let disk = around("file=", &escaped(self.program.as_os_str()), ",if=virtio,index=1,format=raw,readonly=on");
        let table = |(name, unit): (_, String)| {
            let value = base64(unit.as_bytes());
            pair("-smbios", format!("type=11,value=io.systemd.credential.binary:{name}={value}"))
        };
        let unit = unit(config, &program_from_disk(config.image.device));
        let tables = [(UNIT, unit), (WANTED.0, WANTED.1.to_owned())].map(table);
        [pair("-drive", disk), line].into_iter().chain(tables).flatten().collect()
    }
}

/// The service of the agent, where it has one and an initial RAM disk brings its program: `/run/lvh/agent`.
pub fn agent_unit(config: &RunConfig) -> Option<String> {
    config.agent.as_ref().map(|_| unit(config, ""))
}

/// A session ends its process, and what it left behind goes on.
fn unit(config: &RunConfig, more: &str) -> String {
    let lines = [config.serial_port.is_some(), config.console_log.is_some(), !config.daemonize];
    let line = lines.iter().filter(|there| **there).count();
    format!(
        "[Unit]\nDescription=lvh's agent\nStartLimitIntervalSec=0\n[Service]\n{more}\
         ExecStart=/run/lvh/agent serve tty:/dev/ttyS{line}\n\
         WorkingDirectory=/run\nRestart=always\nRestartSec=100ms\nKillMode=process\nOOMPolicy=continue\nIgnoreSIGPIPE=no\n\
         TasksMax=infinity\n"
    )
}

/// The service's line that makes the program a file. In a directory of its own, because `/run` may not have programs that run.
fn program_from_disk(image: RootDevice) -> String {
    let disk = if image == RootDevice::Vda { "vdb" } else { "vda" };
    format!(
        "ExecStartPre=/bin/sh -ec '[ ! -x lvh/agent ] || exit 0; mkdir -p lvh; mount -t tmpfs -o mode=700 lvh lvh; \
         cat /dev/{disk} > lvh/agent; chmod 700 lvh/agent'\n"
    )
}

/// As RFC 4648 has it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let bits = chunk.iter().fold(0, |bits, &byte| bits << 8 | usize::from(byte)) << (8 * (3 - chunk.len()));
        let digit = |place: usize| match place <= chunk.len() {
            true => char::from(DIGITS[bits >> (18 - 6 * place) & 63]),
            false => '=',
        };
        [0, 1, 2, 3].map(digit)
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{BootKernel, Image, arguments, for_a_shell};
    use crate::vm::{DiskFormat, Hypervisor};

    fn config(change: impl FnOnce(&mut RunConfig)) -> RunConfig {
        let image = Image { path: "I".into(), format: DiskFormat::Raw, writable: false, device: RootDevice::Vda };
        let mut config = RunConfig::new(image, Hypervisor::Kvm);
        config.agent = Some(Agent { socket: "A,B".into(), program: "P".into() });
        change(&mut config);
        config
    }

    #[test]
    fn its_service_knows_its_disk_and_its_line() {
        let expected = "[Unit]
Description=lvh's agent
StartLimitIntervalSec=0
[Service]
ExecStart=/run/lvh/agent serve tty:/dev/ttyS1
WorkingDirectory=/run
Restart=always
RestartSec=100ms
KillMode=process
OOMPolicy=continue
IgnoreSIGPIPE=no
TasksMax=infinity
";
        let check = |change: fn(&mut RunConfig), line: &str| {
            assert_eq!(agent_unit(&config(change)), Some(expected.replace("/dev/ttyS1", line)));
        };
        check(|_| (), "/dev/ttyS1");
        check(|config| config.daemonize = true, "/dev/ttyS0");
        check(|config| config.serial_port = Some(1), "/dev/ttyS2");
        check(|config| (config.serial_port, config.console_log) = (Some(1), Some("log".into())), "/dev/ttyS3");
        assert_eq!(agent_unit(&config(|config| config.agent = None)), None);
        let line = "ExecStartPre=/bin/sh -ec '[ ! -x lvh/agent ] || exit 0; mkdir -p lvh; mount -t tmpfs -o mode=700 \
                    lvh lvh; cat /dev/vdb > lvh/agent; chmod 700 lvh/agent'\n";
        assert_eq!(program_from_disk(RootDevice::Vda), line);
        assert_eq!(program_from_disk(RootDevice::Hda), line.replace("vdb", "vda"));
    }

    #[test]
    fn a_boot_loader_leaves_it_to_the_firmware() {
        let words = |config: &RunConfig| for_a_shell("", &arguments(config)).into_string().unwrap();
        let disk = "-drive file=P,if=virtio,index=1,format=raw,readonly=on \\\n\t";
        let line = "-chardev socket,id=lvh-agent,path=A,,B,server=on,wait=off \\\n\t-serial chardev:lvh-agent";
        let value = base64(unit(&config(|_| ()), &program_from_disk(RootDevice::Vda)).as_bytes());
        let table = |name, value| format!(" \\\n\t-smbios type=11,value=io.systemd.credential.binary:{name}={value}");
        let tables = table(UNIT, &*value) + &table(WANTED.0, "W1VuaXRdCldhbnRzPWx2aC1hZ2VudC5zZXJ2aWNlCg==");
        assert!(words(&config(|_| ())).ends_with(&format!("{disk}{line}{tables}")));

        let direct = words(&config(|config| config.kernel = Some(BootKernel::default())));
        assert!(direct.ends_with(line) && !direct.contains(disk), "{direct}");
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(base64(b"\xfb\xff"), "+/8=");
    }
}
