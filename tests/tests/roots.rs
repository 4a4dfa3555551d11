//! Roots that are not the host's: a disk with a system of its own, and nothing but an initramfs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use lvh_core::config::{Channel, Share};
use lvh_core::vm::{self, DiskFormat, RootFs, Vm, VmSpec};
use lvh_core::{Config, Events, Kernel, Store, kernel};
use lvh_tests::{busybox_disk, empty_directory};

fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Runs a program of the host, which must succeed.
fn do_run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

/// A program that needs no library, and says where it runs.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = empty_directory(scratch(), "roots-program");
    let (source, program) = (dir.join("where.rs"), dir.join("where"));
    let code = r#"fn main() {
        println!("{} as {}", std::env::current_exe().unwrap().display(), std::process::id());
        std::fs::write(std::env::args().nth(1).unwrap(), "written on a disk").unwrap();
    }"#;
    fs::write(&source, code).unwrap();
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    do_run(rustc.args(["-Ctarget-feature=+crt-static", "-o"]).arg(&program).arg(&source));
    program
});

/// An ext4 disk with busybox on it.
static DISK: LazyLock<PathBuf> = LazyLock::new(|| busybox_disk(scratch(), "roots-disk", &[]));

fn on_disk() -> RootFs {
    RootFs::Disk { path: DISK.clone(), format: DiskFormat::Raw }
}

/// What VMs are made with.
fn resolve(name: &str) -> (Config, Store, Kernel) {
    let config = Config::for_process(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let store = config.store().unwrap();
    let kernel = kernel::resolve_blocking(name, &config.kernel(name).unwrap(), &store, &Events::silent()).unwrap();
    (config, store, kernel)
}

/// A VM of the kernel `name` that is shown the program and a writable directory, changed by `change`.
async fn boot(name: &str, writable: &Path, change: impl FnOnce(VmSpec) -> VmSpec) -> Vm {
    let (config, store, kernel) = resolve(name);
    let program = PROGRAM.clone();
    let spec = VmSpec::new(kernel, &config)
        .visible(vec![program.parent().unwrap().to_owned()])
        .packed(vec![program])
        .writable(vec![writable.to_owned()]);
    Vm::boot(&change(spec), &store, &Events::silent()).await.unwrap_or_else(|error| panic!("{}", error.report()))
}

/// What the words print, once they have succeeded.
async fn output(vm: &Vm, words: &[&str]) -> String {
    let ran =
        vm.output(vm::Command::new(words[0]).args(&words[1..])).await.unwrap_or_else(|e| panic!("{}", e.report()));
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    assert!(ran.status.success(), "{words:?}: {}: {said}", ran.status);
    said
}

/// A VM on the disk has the disk's files, and those of the host that it was promised.
async fn check_disk(kernel: &str, share: Share) {
    let writable = empty_directory(scratch(), &format!("roots-{kernel}-{share}"));
    let vm = boot(kernel, &writable, |spec| spec.root(on_disk()).share(share)).await;
    assert_eq!(output(&vm, &["cat", "/etc/os-release"]).await, "ID=of-the-disk\n");
    let mounts = output(&vm, &["cat", "/proc/mounts"]).await;
    assert!(mounts.lines().any(|line| line.split(' ').nth(1) == Some("/") && line.contains(" ext4 rw")), "{mounts}");
    assert!(!mounts.contains(" /run/lvh"), "{mounts}");

    let program = PROGRAM.to_str().unwrap();
    let said = output(&vm, &[program, writable.join("file").to_str().unwrap()]).await;
    assert!(said.starts_with(&format!("{program} as ")), "{said}");
    let release = &vm.info().release;
    assert!(output(&vm, &["cat", &format!("/boot/config-{release}")]).await.contains("CONFIG_"));
    if share != Share::Packed {
        assert!(output(&vm, &["ls", &format!("/lib/modules/{release}")]).await.contains("kernel\n"));
    }
    output(&vm, &["touch", "/gone-with-the-vm"]).await;
    vm.write_back().await.unwrap();
    vm.shutdown().await.unwrap();
    assert_eq!(fs::read_to_string(writable.join("file")).unwrap(), "written on a disk");
}

#[tokio::test]
async fn a_disk_is_the_root_on_every_share() {
    check_disk("6.12", Share::Virtiofs).await;
    check_disk("6.12", Share::NineP).await;
    check_disk("6.12", Share::Packed).await;
    check_disk("5.10", Share::NineP).await;
}

/// What one VM writes to the disk the next one does not see, also where both resume from one snapshot.
#[tokio::test]
async fn a_disk_is_resumed_from_a_snapshot_and_not_written_to() {
    let writable = empty_directory(scratch(), "roots-snapshot");
    let before = fs::read(&*DISK).unwrap();
    for _ in 0..2 {
        let change = |spec: VmSpec| spec.root(on_disk()).channel(Channel::VirtioSerial).share(Share::NineP);
        let vm = boot("6.12", &writable, change).await;
        assert!(vm.info().resumed);
        assert!(!output(&vm, &["ls", "/"]).await.contains("gone"));
        output(&vm, &["touch", "/gone"]).await;
        vm.shutdown().await.unwrap();
    }
    assert!(before == fs::read(&*DISK).unwrap(), "the disk was written to");
}

/// The agent works beside an init of the root's own, and a snapshot holds that with what it has written.
#[tokio::test]
async fn the_agent_need_not_be_the_first_process() {
    let writable = empty_directory(scratch(), "roots-init");
    let with_init = async || {
        let change = |spec: VmSpec| spec.root(on_disk()).init(["/first"]);
        boot("6.12", &writable, |spec| change(spec).channel(Channel::VirtioSerial).share(Share::NineP)).await
    };
    let vm = with_init().await;
    assert!(vm.info().resumed);
    let begun = output(&vm, &["cat", "/begun"]).await;
    output(&vm, &["sh", "-c", "echo gone >/begun"]).await;
    vm.shutdown().await.unwrap();
    let vm = with_init().await;
    assert!(vm.info().resumed && vm.info().snapshot_after.is_none());
    assert_eq!(output(&vm, &["cat", "/begun"]).await, begun);
    let release = vm.info().release.clone();
    assert!(output(&vm, &["cat", "/proc/mounts"]).await.contains(&format!("/dev/vdb /lib/modules/{release} ext4")));
    assert!(output(&vm, &["ls", &format!("/lib/modules/{release}")]).await.contains("kernel\n"));
    assert_eq!(output(&vm, &["cat", "/proc/1/comm"]).await, "first\n");
    // An orphan of a command's is the agent's, not the shell's, and is gone with the command.
    output(&vm, &["sh", "-c", "sleep 1000 & :"]).await;
    // Others may end while it looks.
    let processes = output(&vm, &["sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null; :"]).await;
    assert!(!processes.contains("sleep\u{0}1000"), "{processes:?}");
    let said = output(&vm, &[PROGRAM.to_str().unwrap(), writable.join("file").to_str().unwrap()]).await;
    assert!(said.starts_with(PROGRAM.to_str().unwrap()), "{said}");
    assert_eq!(vm.write_back().await.unwrap(), Vec::<String>::new());
    vm.shutdown().await.unwrap();
    assert_eq!(fs::read_to_string(writable.join("file")).unwrap(), "written on a disk");
}

/// An initramfs is a root too: with what it was given, and what the host shows.
#[tokio::test]
async fn an_initramfs_is_the_root() {
    let writable = empty_directory(scratch(), "roots-initramfs");
    let vm = boot("6.12", &writable, |spec| spec.root(RootFs::Initramfs).share(Share::NineP)).await;
    let said = output(&vm, &[PROGRAM.to_str().unwrap(), writable.join("file").to_str().unwrap()]).await;
    assert!(said.starts_with(PROGRAM.to_str().unwrap()), "{said}");
    assert_eq!(vm.write_back().await.unwrap(), Vec::<String>::new());
    vm.shutdown().await.unwrap();
    assert_eq!(fs::read_to_string(writable.join("file")).unwrap(), "written on a disk");
}

#[tokio::test]
async fn a_root_that_cannot_be_says_why() {
    let (config, store, kernel) = resolve("6.12");
    let spec = VmSpec::new(kernel, &config);
    let refusal = async |spec: VmSpec| Vm::boot(&spec, &store, &Events::silent()).await.unwrap_err().report();
    let absent = RootFs::Disk { path: "/no/such/disk".into(), format: DiskFormat::Raw };
    let report = refusal(spec.clone().root(absent)).await;
    assert!(report.starts_with("failed to open the disk `/no/such/disk`: No such file"), "{report}");
    let report = refusal(spec.clone().root(on_disk()).init(["/no/such/init"]).warm_start(false)).await;
    assert!(
        report.contains("did not boot: failed to start `/no/such/init` as the first process: No such file"),
        "{report}"
    );
}
