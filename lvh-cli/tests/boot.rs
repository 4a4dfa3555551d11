//! `lvh run` boots: a disk with busybox and an init of its own, on a kernel of Debian's, whose disk drivers are modules.

mod port;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use port::free_port;

/// What the first process does, with the words that the kernel does not know: the script is the host's.
const INIT: &str = "#!/bin/sh
export PATH=/bin
mount -t proc proc /proc && mount -t devtmpfs dev /dev 2>/dev/null
mount -t 9p -o trans=virtio host_mount /host && . /host/script
sync; poweroff -f
";

/// A generous limit on each wait, for busy machines.
const LONG: Duration = Duration::from_secs(240);

/// Runs a program of the host, which must succeed; what it printed.
fn do_run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// An ext4 disk with busybox and the init.
static DISK: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("boot-disk");
    let _ = fs::remove_dir_all(&dir);
    let (tree, disk) = (dir.join("tree"), dir.join("disk,raw"));
    ["bin", "sbin", "dev", "proc", "host", "lib"].iter().for_each(|name| fs::create_dir_all(tree.join(name)).unwrap());
    fs::write(tree.join("sbin/init"), INIT).unwrap();
    fs::set_permissions(tree.join("sbin/init"), fs::Permissions::from_mode(0o755)).unwrap();
    let busybox = do_run(Command::new("which").arg("busybox"));
    fs::copy(busybox.trim(), tree.join("bin/busybox")).expect("tests/setup installs busybox");
    for applet in ["sh", "mount", "sync", "poweroff", "ip", "nc", "ls", "uname", "cat", "touch"] {
        symlink("busybox", tree.join("bin").join(applet)).unwrap();
    }
    symlink("../sbin/init", tree.join("bin/own")).unwrap();
    fs::File::create(&disk).unwrap().set_len(32 << 20).unwrap();
    do_run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(&tree).arg(&disk));
    disk
});

/// A directory for one test: what the guest sees of it is in `host`, and QEMU's temporary files are in `tmp`.
fn prepare(name: &str, script: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("boot-{name}"));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("host")).unwrap();
    fs::create_dir_all(dir.join("tmp")).unwrap();
    fs::write(dir.join("host/script"), script).unwrap();
    dir
}

/// `lvh run` in `dir` with what all tests have.
fn lvh_run(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lvh"));
    command.args(["run", "--cpu", "1", "--mem", "512M", "--host-mount", "host", "--append", "quiet"]).args(args);
    command.current_dir(dir).env("TMPDIR", dir.join("tmp")).stdin(Stdio::null());
    command
}

/// Waits until `found`.
#[track_caller]
fn wait_until(what: &str, mut found: impl FnMut() -> bool) {
    let start = Instant::now();
    while !found() {
        assert!(start.elapsed() < LONG, "{what}: not after {LONG:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The QEMUs that have `word` in their arguments.
fn qemus(word: &str) -> usize {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    processes.filter(|line| line.starts_with(b"qemu") && String::from_utf8_lossy(line).contains(word)).count()
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

/// Reads the console up to a line that holds `word`, and all that was read.
fn read_up_to(console: &mut impl BufRead, word: &str) -> String {
    let mut read = String::new();
    while !read.contains(word) {
        let mut line = Vec::new();
        assert_ne!(console.read_until(b'\n', &mut line).unwrap(), 0, "no `{word}` in {read}");
        read += &String::from_utf8_lossy(&line);
    }
    read
}

fn spawn(mut command: Command) -> (Child, impl BufRead) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let console = BufReader::new(child.stdout.take().unwrap());
    (child, console)
}

/// The first that boots has what the host gives it, answers on its port, ends QEMU, and leaves no trace.
#[test]
fn an_image_boots_and_is_not_changed() {
    let script = "echo I am $0; echo the host says $(cat /host/word); echo words: $*; uname -r > /host/release
        ls /lib/modules/$(uname -r) > /host/modules; touch /written && echo root is writable
        ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; echo listening; echo from the guest | nc -l -p 80";
    let dir = prepare("plain", script);
    fs::write(dir.join("host/word"), "good morning").unwrap();
    let (before, port) = (fs::read(&*DISK).unwrap(), free_port());
    let forward = format!("{port}:80");
    let image = DISK.to_str().unwrap();
    let args = ["--image", image, "--kernel", "6.12", "--append", "init=/bin/own a=b word", "-p", &forward];
    let (mut qemu, mut console) = spawn(lvh_run(&dir, &args));
    let said = read_up_to(&mut console, "listening");
    assert!(said.contains("the host says good morning"), "{said}");
    assert!(said.contains("I am /bin/own"), "{said}");
    assert!(said.contains("words: word"), "{said}");
    assert!(said.contains("root is writable"), "{said}");
    let mut answer = String::new();
    wait_until("the port answers", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok_and(|mut stream| stream.read_to_string(&mut answer).is_ok())
            && !answer.is_empty()
    });
    assert_eq!(answer, "from the guest\n");
    std::io::copy(&mut console, &mut std::io::sink()).unwrap();
    assert_eq!(qemu.wait().unwrap().code(), Some(0));
    assert!(fs::read_to_string(dir.join("host/release")).unwrap().starts_with("6.12."));
    assert!(fs::read_to_string(dir.join("host/modules")).unwrap().contains("modules.dep\n"));
    assert!(before == fs::read(&*DISK).unwrap(), "the image was changed");
    assert!(is_empty(&dir.join("tmp")));
}

/// A kernel file whose modules lie beside it, another disk, and QEMU in the background; what the guest writes stays.
#[test]
fn a_daemon_changes_the_image_where_that_is_asked_for() {
    let dir =
        prepare("rw", "touch /written; echo written; while [ ! -e /host/end ]; do cat /proc/uptime; done >/dev/null");
    let image = dir.join("disk.qcow2");
    do_run(Command::new("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2"]).arg(&*DISK).arg(&image));
    let shown = do_run(&mut lvh_run(&dir, &["--image", "disk.qcow2", "--kernel", "6.12", "--qemu-cmd-print"]));
    let modules = shown.split("id=kernel_modules_id,path=").nth(1).unwrap().split(',').next().unwrap();
    let kernel = Path::new(modules).ancestors().nth(3).unwrap().join("vmlinuz");
    let word = image.to_str().unwrap();
    let args = ["--image", word, "--rw", "--root-dev", "hda", "--kernel", kernel.to_str().unwrap()];
    let mut command = lvh_run(&dir, &args);
    command.args(["--daemonize", "--console-log-file", "console.log"]);
    assert_eq!(command.status().unwrap().code(), Some(0));
    assert_eq!(qemus(word), 1);
    let log = dir.join("console.log");
    wait_until("the guest has written", || fs::read_to_string(&log).is_ok_and(|log| log.contains("written")));
    fs::write(dir.join("host/end"), "").unwrap();
    wait_until("QEMU is gone", || qemus(word) == 0);
    let raw = dir.join("after");
    do_run(Command::new("qemu-img").args(["convert", "-f", "qcow2", "-O", "raw"]).arg(&image).arg(&raw));
    assert!(do_run(Command::new("debugfs").args(["-R", "ls /"]).arg(&raw)).contains("written"));
    assert!(is_empty(&dir.join("tmp")));
}

/// lvh-init says so where the disk has not even a place for the console.
#[test]
fn a_disk_without_an_init_is_told() {
    let dir = prepare("no-init", "");
    let disk = dir.join("empty");
    fs::create_dir(dir.join("tree")).unwrap();
    do_run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(dir.join("tree")).arg(&disk).arg("16M"));
    let console = do_run(&mut lvh_run(&dir, &["--image", "empty", "--kernel", "6.12"]));
    let words = "lvh-init: the disk has no init that starts (`/sbin/init`: No such file or directory (os error 2); ";
    assert!(console.contains(words), "{console}");
}

#[test]
fn who_is_interrupted_leaves_nothing() {
    let dir = prepare("interrupted", "");
    symlink(&*DISK, dir.join("other-name")).unwrap();
    let (mut qemu, mut console) =
        spawn(lvh_run(&dir, &["--image", "other-name", "--kernel", "6.12", "--append", "debug"]));
    read_up_to(&mut console, "Linux version");
    // SAFETY: kill takes plain numbers; the child is not reaped yet.
    assert_eq!(unsafe { libc::kill(qemu.id().cast_signed(), libc::SIGINT) }, 0);
    assert_eq!(qemu.wait().unwrap().code(), Some(0));
    assert_eq!(qemus("other-name"), 0);
    assert!(is_empty(&dir.join("tmp")));
}
