use super::*;
use crate::run::Port;
use crate::vm::DiskFormat;

const TCG: Hypervisor = Hypervisor::Tcg { single_thread: false };

fn config(hypervisor: Hypervisor) -> RunConfig {
    let image = Image { path: "I".into(), format: DiskFormat::Raw, writable: false, device: RootDevice::Vda };
    RunConfig { arch: Arch::X86_64, ..RunConfig::new(image, hypervisor) }
}

/// The call of `config`, changed by `change`, is `expected`, where a word of a line is what stands between two spaces.
#[track_caller]
fn check(hypervisor: Hypervisor, change: impl FnOnce(&mut RunConfig), expected: &str) {
    let mut config = config(hypervisor);
    change(&mut config);
    let text = for_a_shell(program(config.arch), &arguments(&config)).into_string().unwrap();
    let expected: Vec<&str> = expected.split_whitespace().collect();
    assert_eq!(text.replace("\\\n\t", "").replace("  ", " ").trim(), expected.join(" "));
}

/// As [`check`], of what differs from a call of all defaults without KVM: it begins and ends as that.
#[track_caller]
fn check_more(change: impl FnOnce(&mut RunConfig), middle: &str) {
    check(TCG, change, &format!("qemu-system-x86_64 -nodefaults -display none -no-reboot -smp 2 -m 4G {middle}"));
}

const DISK: &str = "-drive file=I,if=virtio,index=0,media=disk,format=raw,snapshot=on";
const NET: &str = "-netdev user,id=user.0 -device virtio-net-pci,netdev=user.0";
const STDIO: &str = "-serial mon:stdio -device virtio-serial-pci";

#[test]
fn all_defaults() {
    check(
        Hypervisor::Kvm,
        |_| (),
        &format!(
            "qemu-system-x86_64 -nodefaults -display none -no-reboot -smp 2 -m 4G -enable-kvm -cpu kvm64 {DISK} {NET} {STDIO}"
        ),
    );
    check_more(|_| (), &format!("{DISK} {NET} {STDIO}"));
}

#[test]
fn several_cpus_are_one_thread_where_qemu_would_break_the_guest() {
    let change = |config: &mut RunConfig| config.hypervisor = Hypervisor::Tcg { single_thread: true };
    check_more(change, &format!("-accel tcg,thread=single {DISK} {NET} {STDIO}"));
}

#[test]
fn arm64() {
    let change = |config: &mut RunConfig| {
        config.arch = Arch::Aarch64;
        config.kernel = Some(BootKernel { file: "K".into(), ..BootKernel::default() });
    };
    let words = "root=/dev/vda console=ttyAMA0 earlyprintk=ttyS0 panic=-1 rw";
    let rest = format!("-cpu max {DISK} -kernel K -append '{words}' {NET} {STDIO}");
    let start = "qemu-system-aarch64 -nodefaults -display none -no-reboot -smp 2 -m 4G -machine virt";
    check(Hypervisor::Kvm, change, &format!("{start} -enable-kvm {rest}"));
    check(TCG, change, &format!("{start} {rest}"));
}

#[test]
fn as_the_published_action_calls_it() {
    let change = |config: &mut RunConfig| {
        (config.cpus, config.memory) = (4, "12000M".to_owned());
        config.cpu_kind = Some("host".to_owned());
        config.console_log = Some("/tmp/console.log".into());
        config.kernel = Some(BootKernel { file: "/k/vmlinuz-6.6".into(), ..BootKernel::default() });
        config.ports = vec!["2222:22".parse().unwrap(), "6443:6443".parse().unwrap()];
        config.daemonize = true;
        config.host_mount = Some("./".into());
    };
    check(
        Hypervisor::Kvm,
        change,
        &format!(
            "qemu-system-x86_64 -nodefaults -display none -no-reboot -smp 4 -m 12000M -enable-kvm -cpu host
             -serial file:/tmp/console.log {DISK}
             -kernel /k/vmlinuz-6.6 -append 'root=/dev/vda console=ttyS0 earlyprintk=ttyS0 panic=-1 rw'
             -netdev user,id=user.0,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:127.0.0.1:6443-:6443
             -device virtio-net-pci,netdev=user.0 -daemonize
             -fsdev local,id=host_id,path=./,security_model=none
             -device virtio-9p-pci,fsdev=host_id,mount_tag=host_mount"
        ),
    );
}

#[test]
fn processors() {
    let named = |config: &mut RunConfig| config.cpu_kind = Some("cortex-a57".to_owned());
    check_more(named, &format!("-cpu cortex-a57 {DISK} {NET} {STDIO}"));
}

#[test]
fn serial_ports_come_in_their_order() {
    let change = |config: &mut RunConfig| {
        (config.serial_port, config.monitor_port) = (Some(5555), Some(4444));
        config.console_log = Some("a,b".into());
    };
    let serial = "-serial telnet:localhost:5555,server,nowait -serial file:a,b";
    check_more(change, &format!("{serial} {DISK} {NET} {STDIO} -monitor tcp:localhost:4444,server,nowait"));
}

#[test]
fn disks() {
    let drive = |change: fn(&mut Image), expected: &str| {
        check_more(|config| change(&mut config.image), &format!("-drive {expected} {NET} {STDIO}"));
    };
    drive(|image| image.device = RootDevice::Hda, "file=I,index=0,media=disk,format=raw,snapshot=on");
    drive(|image| image.writable = true, "file=I,if=virtio,index=0,media=disk,format=raw");
    drive(|image| image.format = DiskFormat::Qcow2, "file=I,if=virtio,index=0,media=disk,format=qcow2,snapshot=on");
    let rest = "if=virtio,index=0,media=disk,format=raw,snapshot=on";
    drive(|image| image.path = "/a,b".into(), &format!("file=/a,,b,{rest}"));
    drive(|image| image.path = "kind@sha256:1".into(), &format!("file=./kind@sha256:1,{rest}"));
    drive(|image| image.path = "a b".into(), &format!("'file=a b,{rest}'"));
}

#[test]
fn kernels() {
    let boot = |device: RootDevice, kernel: BootKernel, expected: &str| {
        let change = |config: &mut RunConfig| {
            config.image.device = device;
            config.kernel = Some(kernel);
        };
        let disk = if device == RootDevice::Hda { DISK.replace("if=virtio,", "") } else { DISK.to_owned() };
        check_more(change, &format!("{disk} {expected} {NET} {STDIO}"));
    };
    let words = "console=ttyS0 earlyprintk=ttyS0 panic=-1 rw";
    let kernel = || BootKernel { file: "K".into(), ..BootKernel::default() };
    boot(RootDevice::Vda, kernel(), &format!("-kernel K -append 'root=/dev/vda {words}'"));
    boot(RootDevice::Hda, kernel(), &format!("-kernel K -append 'root=/dev/sda {words}'"));
    let more = BootKernel {
        initrd: Some("R".into()),
        append: vec!["ro init=/x".into(), String::new(), "a=\"it's\"".into()],
        ..kernel()
    };
    let words = format!("root=/dev/vda {words} ro init=/x a=\"it'\\''s\"");
    boot(RootDevice::Vda, more, &format!("-kernel K -initrd R -append '{words}'"));
}

#[test]
fn networks() {
    check_more(|config| config.network = false, &format!("{DISK} {STDIO}"));
    let change = |config: &mut RunConfig| {
        config.ports = ["80", "0.0.0.0:53:53:udp"].map(|port| port.parse::<Port>().unwrap()).into();
    };
    let ports = "hostfwd=tcp:127.0.0.1:80-:80,hostfwd=udp:0.0.0.0:53-:53";
    check_more(change, &format!("{DISK} -netdev user,id=user.0,{ports} -device virtio-net-pci,netdev=user.0 {STDIO}"));
}

#[test]
fn shares() {
    let change = |config: &mut RunConfig| {
        (config.host_mount, config.kernel_modules) = (Some("/a,b".into()), Some("/m".into()));
    };
    let shares = "-fsdev local,id=host_id,path=/a,,b,security_model=none
        -device virtio-9p-pci,fsdev=host_id,mount_tag=host_mount
        -fsdev local,id=kernel_modules_id,path=/m,security_model=none,readonly=on
        -device virtio-9p-pci,fsdev=kernel_modules_id,mount_tag=kernel_modules";
    check_more(change, &format!("{DISK} {NET} {STDIO} {shares}"));
}

#[test]
fn a_shell_reads_the_words_as_they_were() {
    let words =
        ["plain", "", "-x", "a b", "it's", "$HOME", "a\\b", "*", "new\nline", "\"", "ä", "~", "a=b,c:d/e@f%g+h"];
    let args: Vec<OsString> = words.iter().map(OsString::from).chain([OsString::from_vec(vec![0xff])]).collect();
    let line = for_a_shell("printf", &[vec!["%s\\0".into()], args.clone()].concat());
    let output = std::process::Command::new("sh").arg("-c").arg(line).output().unwrap();
    let read: Vec<&[u8]> = output.stdout.split(|&byte| byte == 0).collect();
    let expected: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).chain([&b""[..]]).collect();
    assert_eq!(read, expected);
}
