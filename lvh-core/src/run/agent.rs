//! lvh's agent in an image that boots by itself, and that has nothing of lvh: a program, a line to it, and a service of systemd.
//!
//! The program is a disk. systemd (256 or newer) takes the service from QEMU, as credentials: of the firmware's tables, which the
//! kernel's `dmi-sysfs` reads, or of the command line where a kernel boots directly (systemd.system-credentials(7)). On the serial line
//! `agent/resident.rs` of lvh-init answers to [`attach`](crate::vm::attach).

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
        let disk = around("file=", &escaped(self.program.as_os_str()), ",if=virtio,index=1,format=raw,readonly=on");
        let line = around("socket,id=lvh-agent,path=", &escaped(self.socket.as_os_str()), ",server=on,wait=off");
        let words = [pair("-drive", disk), pair("-chardev", line), pair("-serial", "chardev:lvh-agent")].concat();
        let tables = config.kernel.is_none().then(|| {
            let table =
                |(name, value)| pair("-smbios", format!("type=11,value=io.systemd.credential.binary:{name}={value}"));
            credentials(config).into_iter().flat_map(table)
        });
        words.into_iter().chain(tables.into_iter().flatten()).collect()
    }

    /// What a kernel that boots directly is told of it.
    pub(super) fn kernel_words(config: &RunConfig) -> impl Iterator<Item = String> {
        credentials(config).into_iter().map(|(name, value)| format!("systemd.set_credential_binary={name}:{value}"))
    }
}

/// Their values, in Base64.
fn credentials(config: &RunConfig) -> [(&'static str, String); 2] {
    [(UNIT, base64(unit(config).as_bytes())), (WANTED.0, base64(WANTED.1.as_bytes()))]
}

/// A directory of its own, because `/run` may not have programs that run. A session ends its process, and what it left behind goes on.
fn unit(config: &RunConfig) -> String {
    let disk = if config.image.device == RootDevice::Vda { "vdb" } else { "vda" };
    let lines = [config.serial_port.is_some(), config.console_log.is_some(), !config.daemonize];
    let line = lines.iter().filter(|there| **there).count();
    format!(
        "[Unit]\nDescription=lvh's agent\nStartLimitIntervalSec=0\n[Service]\n\
         ExecStartPre=/bin/sh -ec '[ ! -x lvh/agent ] || exit 0; mkdir -p lvh; mount -t tmpfs -o mode=700 lvh lvh; \
         cat /dev/{disk} > lvh/agent; chmod 700 lvh/agent'\n\
         ExecStart=/run/lvh/agent serve tty:/dev/ttyS{line}\n\
         WorkingDirectory=/run\nRestart=always\nRestartSec=100ms\nKillMode=process\nOOMPolicy=continue\nIgnoreSIGPIPE=no\n\
         TasksMax=infinity\n"
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
ExecStartPre=/bin/sh -ec '[ ! -x lvh/agent ] || exit 0; mkdir -p lvh; mount -t tmpfs -o mode=700 lvh lvh; cat /dev/vdb > lvh/agent; chmod 700 lvh/agent'
ExecStart=/run/lvh/agent serve tty:/dev/ttyS1
WorkingDirectory=/run
Restart=always
RestartSec=100ms
KillMode=process
OOMPolicy=continue
IgnoreSIGPIPE=no
TasksMax=infinity
";
        assert_eq!(unit(&config(|_| ())), expected);
        let check = |change: fn(&mut RunConfig), disk: &str, line: &str| {
            let changed = expected.replace("/dev/vdb", disk).replace("/dev/ttyS1", line);
            assert_eq!(unit(&config(change)), changed);
        };
        check(|config| config.image.device = RootDevice::Hda, "/dev/vda", "/dev/ttyS1");
        check(|config| config.daemonize = true, "/dev/vdb", "/dev/ttyS0");
        check(|config| config.serial_port = Some(1), "/dev/vdb", "/dev/ttyS2");
        let all = |config: &mut RunConfig| (config.serial_port, config.console_log) = (Some(1), Some("log".into()));
        check(all, "/dev/vdb", "/dev/ttyS3");
    }

    #[test]
    fn a_boot_loader_leaves_it_to_the_firmware() {
        let words = |config: &RunConfig| for_a_shell("", &arguments(config)).into_string().unwrap();
        let devices = "-drive file=P,if=virtio,index=1,format=raw,readonly=on \\\n\t-chardev \
                       socket,id=lvh-agent,path=A,,B,server=on,wait=off \\\n\t-serial chardev:lvh-agent";
        let [(name, value), (_, wanted)] = credentials(&config(|_| ()));
        assert_eq!(wanted, "W1VuaXRdCldhbnRzPWx2aC1hZ2VudC5zZXJ2aWNlCg==");
        let table = |name, value| format!(" \\\n\t-smbios type=11,value=io.systemd.credential.binary:{name}={value}");
        let tables = table(name, &value) + &table(WANTED.0, &wanted);
        assert!(words(&config(|_| ())).ends_with(&format!("{devices}{tables}")));

        let direct = words(&config(|config| {
            config.kernel = Some(BootKernel { append: vec!["last".into()], ..Default::default() })
        }));
        let told = format!(
            "panic=-1 rw systemd.set_credential_binary={name}:{value} systemd.set_credential_binary={}:{wanted} last'",
            WANTED.0
        );
        assert!(direct.contains(&told) && direct.ends_with(devices), "{direct}");
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
