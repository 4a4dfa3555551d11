//! `lvh doctor`: what it says of machines and of kernels, and how it exits.

#[path = "../../lvh-oci/tests/registry/support/program.rs"]
mod program;
mod project;

use std::fs;
use std::path::Path;
use std::process::Output;

use program::write_script;
use project::{Project, check};

/// Asserts the code; gives stdout.
#[track_caller]
fn stdout(output: &Output, code: i32) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Puts a QEMU into the project that is a script.
fn write_qemu(project: &Project, script: &str) {
    let qemu = project.dir().join(format!("qemu-system-{}", std::env::consts::ARCH));
    write_script(&qemu, &format!("#!/bin/sh\n{script}\n"));
}

/// What a QEMU 10 says; the code 33 is that of the program that doctor has it run.
const QEMU_10: &str = "\
case $1 in
--version) echo 'QEMU emulator version 10.0.2';;
-device) echo 'name \"vhost-user-vsock-pci\", bus PCI'; echo 'name \"vhost-user-fs-pci\", bus PCI';;
*) exit 33;;
esac";

#[test]
fn doctor_says_what_is_missing_and_how_to_mend_it() {
    let project = Project::new("data-dir = 'data'");
    let doctor = |code| stdout(&project.lvh(&["doctor"], &[("PATH", project.dir().to_str().unwrap())]), code);
    let text = doctor(1);
    assert!(text.starts_with("MISSING  QEMU"), "{text}");
    assert!(text.contains("cost: no VM can start"), "{text}");
    assert!(text.ends_with("\nlvh cannot run here: 1 thing missing\n"), "{text}");

    write_qemu(&project, QEMU_10);
    let text = doctor(0);
    assert!(text.contains("(version 10.0)"), "{text}");
    assert!(text.contains("\nok       virtiofs  "), "{text}");
    assert!(!project.dir().join("data").exists(), "doctor changes nothing");

    write_qemu(&project, &QEMU_10.replace("vhost-user-fs-pci", "another"));
    let text = doctor(1);
    assert!(text.contains("\nMISSING  virtiofs  "), "{text}");
    assert!(text.contains(" has no device `vhost-user-fs-pci`\n"), "{text}");

    write_qemu(&project, "echo 'qemu: cannot open shared object file' >&2; exit 127");
    if std::env::consts::ARCH == "x86_64" {
        let text = doctor(1);
        assert!(text.contains(" does not run: qemu: cannot open shared object file\n"), "{text}");
    }
}

/// The QEMU of this machine, if any, runs the trial's code under TCG.
#[test]
fn the_qemu_of_this_machine_is_tried() {
    let project = Project::new("data-dir = 'data'");
    let path = std::env::var("PATH").unwrap();
    let vars = [("PATH", path.as_str()), ("LVH_ACCEL", "tcg")];
    let text = stdout(&project.lvh(&["doctor"], &vars), 0);
    assert!(text.contains("QEMU ") && !text.contains("does not run"), "{text}");
    assert!(!text.contains("ten times slower"), "nobody wants KVM: {text}");
}

/// Two of Debian's kernels differ in what their authors left out for clouds.
#[test]
fn debian_kernels_show_their_transport() {
    let cloud = "[kernels.\"6.12-cloud\"]\ndeb = 'linux-image-cloud-amd64'\nsuite = 'trixie'\n";
    let project = Project::new(cloud);
    let config = lvh_core::Config::for_process(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let data_dir = config.data_dir().unwrap().into_os_string().into_string().unwrap();
    let mirror = config.debian_mirror.unwrap_or_default();
    let path = std::env::var("PATH").unwrap();
    let vars = [("PATH", path.as_str()), ("LVH_DATA_DIR", &data_dir), ("LVH_DEBIAN_MIRROR", &mirror)];
    let doctor = |more: &[(&str, &str)], args: &[&str]| {
        let output = project.lvh(&[&["doctor"], args].concat(), &[&vars[..], more].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };

    let (code, text) = doctor(&[], &["-k", "6.12", "--kernel", "6.12-cloud"]);
    assert_eq!(code, Some(0), "{text}");
    let (generic, cloud) = text.split_once("\n\nkernel `6.12-cloud`: Linux 6.12.").expect(&text);
    assert!(generic.starts_with("kernel `6.12`: Linux 6.12."), "{text}");
    assert!(generic.contains(" (linux-image-amd64 of Debian's trixie)\nok       image  "), "{text}");
    assert!(generic.contains("\nok       boots by                  PVH: the uncompressed kernel\n"), "{text}");
    // There can be a snapshot of a VM of the one.
    assert!(generic.contains("\ntaken    share 9p                  what a VM uses; 5 modules to load\n"), "{text}");
    assert!(cloud.contains("\ntaken    share virtiofs            what a VM uses; 1 module to load\n"), "{text}");
    let why = "the guest's kernel has no 9pnet_virtio (CONFIG_NET_9P_VIRTIO)";
    assert!(cloud.contains(&format!("\nno       share 9p                  {why}\n")), "{text}");
    for kernel in [generic, cloud] {
        assert!(kernel.contains("\noptional IKHEADERS                 off\n"), "{kernel}");
        assert!(!kernel.contains("MISSING") && !kernel.contains("warning"), "{kernel}");
    }
    assert!(cloud.ends_with("\nlvh can boot this kernel on channel virtio-serial with share virtiofs\n"), "{cloud}");

    let (code, text) = doctor(&[("LVH_SHARE", "9p")], &["-k", "6.12-cloud"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&format!("\nMISSING  transport                 the share `9p` cannot be used: {why}\n")));
    assert!(text.contains("  fix:  unset LVH_SHARE to let lvh choose\n"), "{text}");
    assert!(text.ends_with("\nlvh cannot boot this kernel: 1 thing missing\n"), "{text}");

    let (code, text) = doctor(&[], &["-k", "5.10"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("\nwarning  LSM bpf                   `bpf` is not in CONFIG_LSM (`lockdown,"), "{text}");
    assert!(text.contains("kernel-args = \"lsm=bpf\""), "{text}");
    assert!(!text.contains("FPROBE"), "Linux 5.10 cannot have it: {text}");
    fs::write(project.dir().join("lvh.toml"), "vm.kernel-args = 'lsm=bpf'").unwrap();
    let (_, text) = doctor(&[], &["-k", "5.10"]);
    assert!(text.ends_with("with share 9p\n"), "{text}");
}

/// A bzImage that says it is Linux 6.5.0-x and holds nothing: lvh reads its header.
fn bzimage() -> Vec<u8> {
    let mut image = vec![0; 1024];
    // Documentation/arch/x86/boot.rst: setup_sects, the magic, version 2.15, where the release is (less 512).
    image[0x1f1] = 1;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    image[0x20e..0x210].copy_from_slice(&0x0100_u16.to_le_bytes());
    image[0x300..0x308].copy_from_slice(b"6.5.0-x ");
    image
}

/// What every kernel needs, and SERIAL_8250.
const BARE: &[&str] = &[
    "BLK_DEV_INITRD",
    "BINFMT_ELF",
    "DEVTMPFS",
    "PROC_FS",
    "SYSFS",
    "TMPFS",
    "PRINTK",
    "UNIX",
    "CGROUPS",
    "SERIAL_8250",
    "SERIAL_8250_CONSOLE",
];

/// A project with an installed tree `tree` whose configuration has these lines and `BARE`, without the options `off`.
fn project_with_tree(off: &[&str], lines: &str) -> Project {
    let project = Project::new("data-dir = 'data'");
    let boot = project.dir().join("tree/boot");
    fs::create_dir_all(&boot).unwrap();
    fs::write(boot.join("vmlinuz-6.5.0-x"), bzimage()).unwrap();
    let bare = BARE.iter().filter(|option| !off.contains(option)).map(|option| format!("CONFIG_{option}=y\n"));
    fs::write(boot.join("config-6.5.0-x"), bare.collect::<String>() + lines).unwrap();
    write_qemu(&project, QEMU_10);
    project
}

/// What doctor says of `kernel`, with the project's path as `DIR` and without the channel that depends on the host.
fn kernel_report(project: &Project, kernel: &str, code: i32) -> String {
    let output = project.lvh(&["doctor", "-k", kernel], &[("PATH", project.dir().to_str().unwrap())]);
    let text = stdout(&output, code).replace(project.dir().to_str().unwrap(), "DIR");
    text.lines().filter(|line| !line.contains(" channel vhost-vsock ")).map(|line| format!("{line}\n")).collect()
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_kernel_for_nothing_but_a_serial_line() {
    let project = project_with_tree(&["CGROUPS"], "CONFIG_VIRTIO_PCI=y\nCONFIG_MODULES=y\nCONFIG_VIRTIO_FS=m\n");
    let text = kernel_report(&project, "./tree", 0);
    let (files_and_transport, options) = text.split_once("ok       lvh's needs").unwrap();
    let expected = "\
kernel `DIR/tree`: Linux 6.5.0-x

ok       from                              DIR/tree
ok       image                             DIR/tree/boot/vmlinuz-6.5.0-x
warning  boots by                          the bzImage's own decompressor: its payload is in no known format
                                           cost: each boot takes longer: under TCG about half as long again
                                           fix:  build the kernel with CONFIG_PVH=y, compressed by gzip, xz, zstd or lz4
ok       config                            DIR/tree/boot/config-6.5.0-x
warning  modules                           not found
                                           cost: what the kernel does not have built in cannot be used
                                           fix:  name the kernel's build tree, or a tree with `lib/modules/6.5.0-x`
no       channel vhost-user-vsock          the guest's kernel has no vmw_vsock_virtio_transport (CONFIG_VIRTIO_VSOCKETS)
no       channel virtio-serial             the guest's kernel has no virtio_console (CONFIG_VIRTIO_CONSOLE)
taken    channel serial                    what a VM uses; nothing to load
no       share virtiofs                    the guest's kernel has virtiofs as a module, but its modules were not found
no       share 9p                          the guest's kernel has no 9pnet_virtio (CONFIG_NET_9P_VIRTIO)
taken    share packed                      what a VM uses; nothing to load
";
    assert_eq!(files_and_transport, expected);
    let lacking = [
        ("warning  CGROUPS", "what a command leaves running when it ends is not ended with it"),
        ("warning  BPF_SYSCALL", "there is no bpf(2): no program and no map can be made"),
        ("warning  FPROBE", "kprobe.multi programs do not attach"),
        ("optional IKHEADERS", "tools that compile in the guest, as bcc does, find no kernel headers"),
    ];
    for (row, cost) in lacking {
        let row = options.split_once(&format!("\n{row} ")).expect(row).1;
        let mut lines = row.lines().map(str::trim);
        assert_eq!(lines.next(), Some("off"), "{row}");
        assert_eq!(lines.next(), Some(&*format!("cost: {cost}")));
        assert!(lines.next().unwrap().starts_with("fix:  build the kernel with CONFIG_"));
    }
    assert!(!options.contains("SCHED_CLASS_EXT"), "Linux 6.5 has none: {options}");
    assert!(options.contains("\nlvh can boot this kernel on channel serial with share packed, with 2"), "{options}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn kernels_that_cannot_be_booted() {
    let project = project_with_tree(&["DEVTMPFS"], "");
    let text = kernel_report(&project, "./tree", 1);
    assert!(text.contains("MISSING  DEVTMPFS  "), "{text}");
    assert!(text.contains("cost: lvh-init finds no devices, and no guest comes up\n"), "{text}");
    assert!(text.contains("fix:  build the kernel with CONFIG_DEVTMPFS=y\n"), "{text}");
    assert!(text.ends_with("\nlvh cannot boot this kernel: 1 thing missing\n"), "{text}");

    let project = project_with_tree(&["SERIAL_8250", "SERIAL_8250_CONSOLE"], "");
    let text = kernel_report(&project, "./tree", 1);
    assert!(text.contains("no       channel serial  "), "{text}");
    assert!(
        text.contains("; channel `serial` not used: the guest's kernel has no 8250 (CONFIG_SERIAL_8250)"),
        "{text}"
    );

    fs::write(project.dir().join("text"), "no kernel").unwrap();
    let text = kernel_report(&project, "./text", 1);
    let why = "`DIR/text` is no kernel that lvh knows: neither bzImage, ELF nor arm64 Image";
    assert_eq!(text, format!("kernel `DIR/text`: {why}\n\nlvh cannot boot this kernel\n"));

    let output = project.lvh(&["doctor", "-k", "6.12"], &[("LVH_OFFLINE", "1")]);
    let text = stdout(&output, 1);
    assert!(text.contains(" is not in the data directory, and lvh is offline\n\nhint: run once without "), "{text}");
    check(&project.lvh(&["doctor", "-k", "./tree", "-k", "6.x7"], &[]), 2, "error: kernel `6.x7` is not in ");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_kernel_of_which_nothing_is_known() {
    let project = project_with_tree(&[], "");
    fs::copy(project.dir().join("tree/boot/vmlinuz-6.5.0-x"), project.dir().join("bzImage")).unwrap();
    let text = kernel_report(&project, "./bzImage", 0);
    assert!(text.contains("\nwarning  config                    not known\n"), "{text}");
    assert!(text.contains("put its .config beside it as `config-6.5.0-x`, or build it with CONFIG_IKCONFIG=y\n"));
    let unknown = "neither config nor modules tell whether the guest's kernel has virtio_pci (CONFIG_VIRTIO_PCI)";
    assert!(text.contains(&format!("\nno       share virtiofs            {unknown}\n")), "{text}");
    assert!(!text.contains("BPF"), "{text}");
    let verdict = "lvh will try to boot this kernel, of which too little is known, on channel serial with share packed";
    assert!(text.ends_with(&format!("\n{verdict}, with 3 warnings\n")), "{text}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_machine_without_qemu_boots_no_kernel() {
    let project = project_with_tree(&[], "");
    let text = stdout(&project.lvh(&["doctor", "-k", "./tree"], &[("PATH", "/nonexistent")]), 1);
    assert!(text.starts_with("this machine boots no kernel as it is:\n\nMISSING  QEMU  "), "{text}");
    assert!(text.contains("\n\nkernel `"), "{text}");
}
