//! Every channel and every share, forced, on every kernel of `lvh.toml`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use lvh_tests::{Finished, TestTarget, empty_directory};

/// Those of `lvh.toml` that a test runs on by default.
const KERNELS: [&str; 4] = ["5.10", "6.1", "6.12", "7.x"];

/// How many lines of 64 bytes `floods` writes; fewer go over a serial line, which does about 100 KiB a second.
const LINES: u32 = (2 << 20) / 64;
const SERIAL_LINES: u32 = (128 << 10) / 64;

static TRANSPORT: LazyLock<TestTarget> = LazyLock::new(|| TestTarget::build("transport"));

fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Runs `arguments` of the target `transport` on one kernel with a forced transport.
fn run(kernel: &str, channel: &str, share: &str, arguments: &[&str]) -> Finished {
    let lines = if channel == "serial" { SERIAL_LINES } else { LINES };
    let mut command = TRANSPORT.command();
    command.args(arguments).env("LVH_KERNELS", kernel).env("LVH_CHANNEL", channel).env("LVH_SHARE", share);
    command.env("LVH_TEST_LINES", lines.to_string()).env("LVH_TEST_PRIVATE", private_file());
    command
        .env("LVH_TEST_RUN", format!("{channel}-{share}"))
        .env("LVH_TEST_ODD", "a b\n\"c")
        .env("RUST_LVH", "")
        .env("ONLY_ON_THE_HOST", "x");
    Finished::of(&mut command)
}

/// A file outside of the directories that guests may write to, for its owner alone.
fn private_file() -> PathBuf {
    static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
        let file = scratch().parent().unwrap().join("private");
        fs::write(&file, "private").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        file
    });
    FILE.clone()
}

/// The value of a line `key: value` that the test `tells` printed.
#[track_caller]
fn told<'a>(stdout: &'a str, key: &str) -> &'a str {
    // On one thread libtest's format has `test tells ... ` before the first.
    let lines = stdout.lines().map(|line| line.strip_prefix("test tells ... ").unwrap_or(line));
    let value = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).next();
    value.unwrap_or_else(|| panic!("no `{key}` in:\n{stdout}"))
}

/// Runs everything on one channel and share, on every kernel, and looks at it from outside.
#[track_caller]
fn check(channel: &str, share: &str, root: &str) {
    for kernel in KERNELS {
        let finished = run(kernel, channel, share, &["--nocapture"]);
        let Finished { code, stdout, stderr } = &finished;
        assert_eq!(*code, Some(0), "{kernel}:\n{stderr}\n{}", without_flood(stdout));
        assert!(stderr.contains(&format!(", {channel}, {share})\n")), "{kernel}:\n{stderr}");
        assert_eq!(told(stdout, "root"), root, "{kernel}");
        // In memory, over what the host has where that is much, as other tests may have left there.
        assert!(["overlay", "tmpfs"].contains(&told(stdout, "scratch")), "{kernel}:\n{stdout}");
        check_place(stdout);
        check_flood(stdout, channel);
        check_files(scratch(), &format!("{channel}-{share}"), told(stdout, "release"));
    }
    for path in ["written-by-a-guest", "/etc/written-by-a-guest", "/tmp/written-by-a-guest"] {
        assert!(!Path::new(path).exists(), "a guest wrote `{path}` on the host");
    }
}

fn without_flood(stdout: &str) -> String {
    stdout.lines().filter(|line| !line.starts_with("flood ")).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check_place(stdout: &str) {
    assert!(told(stdout, "arguments").ends_with(", \"--nocapture\"]"), "{}", told(stdout, "arguments"));
    assert_eq!(Path::new(told(stdout, "directory")), Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().unwrap());
    assert_eq!(told(stdout, "forwarded"), r#"Ok("") Ok("a b\n\"c")"#);
    assert_eq!(told(stdout, "not forwarded"), "Err(NotPresent) Err(NotPresent)");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let clock: u64 = told(stdout, "clock").parse().unwrap();
    assert!(now.abs_diff(clock) < 300, "the guest's clock says {clock}, ours {now}");
}

#[track_caller]
fn check_flood(stdout: &str, channel: &str) {
    let expected = if channel == "serial" { SERIAL_LINES } else { LINES };
    let lines: Vec<&str> = stdout.lines().filter(|line| line.starts_with("flood ")).collect();
    assert_eq!(lines.len(), expected as usize);
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("flood {number:05} {}", "x".repeat(51)));
    }
}

/// What `writes` wrote in the guest.
#[track_caller]
fn check_files(scratch: &Path, run: &str, release: &str) {
    let directory = scratch.join("transport").join(run).join(release).join("writes");
    let file = directory.join("deep/file");
    assert_eq!(fs::read_to_string(&file).unwrap(), release);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o640);
    let large = fs::read(directory.join("large")).unwrap();
    assert_eq!(large.len(), 300_000);
    assert!(large.iter().enumerate().all(|(number, &byte)| byte == (number % 251) as u8));
    assert_eq!(fs::read(directory.join("empty")).unwrap(), b"");
    assert_eq!(fs::read_to_string(directory.with_file_name("again").join("file")).unwrap(), "again");
    fs::remove_dir_all(directory.parent().unwrap()).unwrap();
}

#[test]
fn vsock_and_virtiofs() {
    check("vhost-user-vsock", "virtiofs", "overlay");
}

#[test]
fn virtio_serial_and_9p() {
    check("virtio-serial", "9p", "overlay");
}

/// The whole of `rootfs` passes on devices of ours too, in VMs that boot; by itself it runs in warm ones.
#[test]
fn the_rootfs_over_virtiofs() {
    let mut command = TestTarget::build("rootfs").command();
    command.env("LVH_KERNELS", "5.10,7.x").env("LVH_CHANNEL", "vhost-user-vsock").env("LVH_SHARE", "virtiofs");
    let Finished { code, stdout, stderr } = Finished::of(&mut command);
    assert_eq!(code, Some(0), "{stderr}\n{stdout}");
    assert!(stderr.contains(", vhost-user-vsock, virtiofs)\n"), "{stderr}");
}

#[test]
fn serial_and_packed() {
    check("serial", "packed", "rootfs");
}

/// A workspace somewhere else, with a built test in it.
struct Workspace(PathBuf);

impl Workspace {
    fn in_directory(parent: &str) -> Self {
        let root = empty_directory(Path::new(parent), &format!("lvh-transports-{}", std::process::id()));
        fs::create_dir_all(root.join("package")).unwrap();
        fs::create_dir_all(root.join("target/debug/deps")).unwrap();
        fs::create_dir_all(root.join("target/tmp")).unwrap();
        for manifest in ["Cargo.toml", "package/Cargo.toml"] {
            fs::write(root.join(manifest), "").unwrap();
        }
        fs::copy("lvh.toml", root.join("lvh.toml")).unwrap();
        // By another process: what another thread forks while we write would keep the program busy.
        let copied =
            Command::new("cp").arg(TRANSPORT.executable()).arg(root.join("target/debug/deps/transport")).status();
        assert!(copied.unwrap().success());
        Self(root)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs some tests of the workspace at `root`, which may be a link to where it `really` is.
#[track_caller]
fn check_workspace(root: &Path, really: &Path, share: &str) {
    let package = root.join("package");
    let mut command = Command::new(root.join("target/debug/deps/transport"));
    command.args(["--nocapture", "tells", "files_change", "writes"]).current_dir(&package);
    command.env("CARGO_MANIFEST_DIR", &package).env("LVH_TEST_SCRATCH", root.join("target/tmp"));
    command.env("LVH_TEST_RUN", share);
    command.env("LVH_KERNELS", "5.10").env("LVH_SHARE", share).env("RUST_BACKTRACE", "0");
    let Finished { code, stdout, stderr } = Finished::of(&mut command);
    assert_eq!(code, Some(0), "{} over {share}:\n{stderr}\n{stdout}", root.display());
    assert_eq!(Path::new(told(&stdout, "directory")), really.join("package"));
    check_files(&really.join("target/tmp"), share, told(&stdout, "release"));
    assert!(!package.join("written-by-a-guest").exists());
}

#[test]
fn workspaces_where_the_guest_has_mounts_of_its_own() {
    let workspace = Workspace::in_directory("/tmp");
    for share in ["virtiofs", "9p", "packed"] {
        check_workspace(&workspace.0, &workspace.0, share);
    }
    let workspace = Workspace::in_directory("/dev/shm");
    check_workspace(&workspace.0, &workspace.0, "virtiofs");
    check_workspace(&workspace.0, &workspace.0, "9p");
}

#[test]
fn a_workspace_behind_a_link() {
    let real = Workspace::in_directory("/var/tmp");
    let link = Workspace(PathBuf::from(format!("/tmp/lvh-transports-link-{}", std::process::id())));
    let _ = fs::remove_file(&link.0);
    symlink(&real.0, &link.0).unwrap();
    check_workspace(&link.0, &real.0, "virtiofs");
    fs::remove_file(&link.0).unwrap();
}

#[test]
fn a_kernel_without_9p() {
    let mut command = TRANSPORT.command();
    command.args(["--nocapture", "--exact", "tells"]).env("LVH_KERNELS", "6.12-cloud");
    let Finished { code, stdout, stderr } = Finished::of(&mut command);
    assert_eq!(code, Some(0), "{stderr}\n{stdout}");
    assert!(stderr.contains(", virtio-serial, virtiofs)\n"), "{stderr}");
    assert!(told(&stdout, "release").contains("-cloud-"), "{stdout}");

    let Finished { code, stdout, stderr } = run("6.12-cloud", "vhost-user-vsock", "9p", &["tells"]);
    assert_eq!(code, Some(101), "{stderr}");
    let why = "the share `9p` cannot be used: the guest's kernel has no 9pnet_virtio (CONFIG_NET_9P_VIRTIO)";
    assert!(stdout.contains(&format!(": {why}\n\nhint: unset LVH_SHARE to let lvh choose")), "{stdout}");
    assert!(stdout.contains("test tells ... FAILED"), "{stdout}");
}

#[test]
fn a_channel_that_this_machine_lacks() {
    if Path::new("/dev/vhost-vsock").exists() {
        check("vhost-vsock", "virtiofs", "overlay");
        return;
    }
    let Finished { code, stdout, stderr } = run("6.12", "vhost-vsock", "virtiofs", &["tells"]);
    assert_eq!(code, Some(101), "{stderr}");
    let why = "the channel `vhost-vsock` cannot be used: `/dev/vhost-vsock` cannot be opened on this machine";
    assert!(stdout.contains(&format!(": {why}\n\nhint: unset LVH_CHANNEL to let lvh choose")), "{stdout}");
    assert!(stdout.contains("test tells ... FAILED"), "{stdout}");
}

#[test]
fn words_that_are_no_transport() {
    let Finished { code, stdout, stderr } = run("6.12", "vhost", "9p", &["tells"]);
    assert_eq!((code, stdout.as_str()), (Some(101), ""));
    assert!(stderr.starts_with("error: the environment variable `LVH_CHANNEL` is `vhost` (expected "), "{stderr}");
}
