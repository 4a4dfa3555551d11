//! Writable directories: what calls say there is the same on the host and on every share, and what was done there is done on
//! the host.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use lvh_tests::{Finished, TestTarget, empty_directory};

static FILES: LazyLock<TestTarget> = LazyLock::new(|| TestTarget::build("file_calls"));

/// Channel and share.
const TRANSPORTS: [(&str, &str); 3] =
    [("virtio-serial", "9p"), ("vhost-user-vsock", "virtiofs"), ("virtio-serial", "packed")];

/// What the memory of a guest cannot do that ext4 does: of any kernel, and of one before 6.6.
const NEVER: [&str; 2] = ["zero a range", "collapse a range"];
const BEFORE_6_6: [&str; 2] = ["an attribute of the user's", "direct"];

/// Needs a module, and those are on the host.
const NOT_PACKED: &str = "an overlay of it";

/// A directory outside of `target/tmp`, which other tests fill.
fn scratch(name: &str) -> PathBuf {
    empty_directory(Path::new(env!("CARGO_TARGET_TMPDIR")), &format!("files-{name}"))
}

fn run(scratch: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> Finished {
    let mut command = FILES.command();
    command.args(arguments).env("CARGO_TARGET_TMPDIR", scratch).env("LVH_TEST_SCRATCH", scratch);
    command.env("RUST_BACKTRACE", "0").envs(settings.iter().copied());
    Finished::of(&mut command)
}

fn in_vm<'a>(kernel: &'a str, (channel, share): (&'a str, &'a str)) -> [(&'a str, &'a str); 3] {
    [("LVH_KERNELS", kernel), ("LVH_CHANNEL", channel), ("LVH_SHARE", share)]
}

/// What each call said.
#[track_caller]
fn calls(scratch: &Path, settings: &[(&str, &str)]) -> BTreeMap<String, String> {
    let Finished { code, stdout, stderr } = run(scratch, settings, &["--nocapture", "--exact", "calls"]);
    assert_eq!(code, Some(0), "{stderr}\n{stdout}");
    let lines = stdout.lines().filter_map(|line| line.split_once("call ")?.1.split_once(": "));
    let said: BTreeMap<_, _> = lines.map(|(call, said)| (call.to_owned(), said.to_owned())).collect();
    assert!(said.len() > 80, "{stdout}");
    said
}

#[track_caller]
fn check_calls(kernel: &str, lacks: &[&str]) {
    let on_host = calls(&scratch(&format!("{kernel}-host")), &[("LVH_MODE", "host")]);
    let packed = calls(&scratch(&format!("{kernel}-first")), &in_vm(kernel, TRANSPORTS[2]));
    for transport in TRANSPORTS {
        let name = format!("{kernel}-{}", transport.1);
        let said = calls(&scratch(&name), &in_vm(kernel, transport));
        let differ: Vec<_> =
            said.iter().filter(|(call, said)| packed[*call] != **said && *call != NOT_PACKED).collect();
        assert!(differ.is_empty(), "{name}: {differ:?}, over another share {packed:?}");
        // What is not allowed here tells nothing.
        let is_lacking = |call: &str| lacks.contains(&call) || transport.1 == "packed" && call == NOT_PACKED;
        let is_told = |call: &String| !is_lacking(call) && !on_host[call].contains("not permitted");
        let differ: Vec<_> = said.iter().filter(|(call, said)| is_told(call) && on_host[*call] != **said).collect();
        let host: Vec<_> = differ.iter().map(|(call, _)| &on_host[*call]).collect();
        assert!(differ.is_empty(), "{name}: {differ:?}, on the host {host:?}");
    }
}

#[test]
fn calls_say_the_same_on_every_share_and_on_the_host() {
    check_calls("6.12", &NEVER);
}

#[test]
fn calls_say_the_same_on_an_old_kernel() {
    check_calls("5.10", &[NEVER, BEFORE_6_6].concat());
}

/// A directory with files that a guest is to find.
fn directory_of_the_host(name: &str) -> PathBuf {
    let scratch = scratch(name);
    let host = scratch.join("of-the-host");
    fs::create_dir_all(host.join("directory/deep")).unwrap();
    for name in ["kept", "removed", "moved", "changed", "directory/deep/file"] {
        fs::write(host.join(name), name).unwrap();
    }
    fs::set_permissions(host.join("kept"), Permissions::from_mode(0o640)).unwrap();
    scratch
}

/// What is below a directory, with what files hold.
fn content(top: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![top.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let (name, metadata) = (path.strip_prefix(top).unwrap().display(), fs::symlink_metadata(&path).unwrap());
            let mode = metadata.mode() & 0o7777;
            match metadata.file_type() {
                kind if kind.is_dir() => directories.push(path),
                kind if kind.is_symlink() => {
                    found.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()))
                }
                kind if kind.is_file() && metadata.len() < 100 => {
                    found.push(format!("{name} {mode:o} {}", fs::read_to_string(&path).unwrap()));
                }
                kind => found.push(format!("{name} {} {}", metadata.len(), kind.is_file() && !kind.is_socket())),
            }
        }
    }
    found.sort();
    found
}

#[track_caller]
fn check_write_back(kernel: &str, transport: (&str, &str), more: &str, fill: impl FnOnce(&Path)) {
    let scratch = directory_of_the_host(&format!("written-{}{more}", transport.1));
    fill(&scratch);
    let profiles =
        empty_directory(Path::new(env!("CARGO_TARGET_TMPDIR")), &format!("files-profiles-{}{more}", transport.1));
    let profile = profiles.join("p.profraw");
    let settings = [&in_vm(kernel, transport)[..], &[("LLVM_PROFILE_FILE", profile.to_str().unwrap())]].concat();
    let Finished { code, stdout, stderr } = run(&scratch, &settings, &["--exact", "leaves_files"]);
    assert_eq!(code, Some(0), "{stderr}\n{stdout}");
    let profiles = content(&profiles);
    assert!(
        profiles.len() == 1 && profiles[0].starts_with("p-lvh") && profiles[0].ends_with(" 644 profile"),
        "{profiles:?}"
    );
    let mut found = content(&scratch);
    found.retain(|name| !name.starts_with("fill"));
    let expected = [
        "moved 644 moved",
        "new/deep/file 644 content",
        "new/link -> /etc/passwd",
        "new/owned 644 ",
        "new/program 751 ",
        "new/sparse 268435456 true",
        "of-the-host/changed 644 changed and more",
        "of-the-host/kept 640 kept",
    ];
    assert_eq!(found, expected, "{stderr}");
    assert!(!scratch.join("of-the-host/directory").exists());
    let modified = |name: &str| fs::metadata(scratch.join(name)).unwrap().mtime();
    assert_eq!((modified("new/deep"), modified("new/deep/file")), (1_000_000, 1_000_000));
    assert!(fs::metadata(scratch.join("new/sparse")).unwrap().blocks() < 1000, "holes stay holes");
    assert_eq!(fs::metadata(scratch.join("new/owned")).unwrap().uid(), fs::metadata(&scratch).unwrap().uid());
}

#[test]
fn what_was_done_in_the_guest_is_done_on_the_host() {
    for transport in TRANSPORTS {
        check_write_back("6.12", transport, "", |_| {});
    }
}

#[test]
fn programs_of_the_host_have_their_capabilities() {
    // SAFETY: geteuid reads a number.
    if unsafe { libc::geteuid() } != 0 {
        return; // Who else may give them?
    }
    for (kernel, transport) in [("6.12", TRANSPORTS[0]), ("6.12", TRANSPORTS[2]), ("5.10", TRANSPORTS[1])] {
        let scratch = scratch(&format!("capability-{kernel}-{}", transport.1));
        for (settings, test) in
            [(&[("LVH_MODE", "host")][..], "gives_a_capability"), (&in_vm(kernel, transport), "has_a_capability")]
        {
            let Finished { code, stdout, stderr } = run(&scratch, settings, &["--ignored", "--exact", test]);
            assert_eq!(code, Some(0), "{kernel} {transport:?}: {stderr}\n{stdout}");
        }
    }
}

/// Too much to be copied into a guest's memory: it is seen through an overlay.
#[test]
fn a_directory_that_is_large_is_seen_too() {
    let fill = |scratch: &Path| {
        for number in 0..1200 {
            fs::create_dir_all(scratch.join(format!("fill/{}", number % 7))).unwrap();
            fs::write(scratch.join(format!("fill/{}/{number}", number % 7)), "x").unwrap();
        }
    };
    for (kernel, transport) in [("6.12", TRANSPORTS[0]), ("6.12", TRANSPORTS[1]), ("5.10", TRANSPORTS[0])] {
        check_write_back(kernel, transport, &format!("-large-{kernel}"), fill);
    }
}

/// What cannot come home is told.
#[test]
fn depths_that_no_path_reaches_are_told() {
    let scratch = scratch("depths");
    let Finished { code, stderr, .. } =
        run(&scratch, &in_vm("6.12", TRANSPORTS[0]), &["--ignored", "--exact", "leaves_depths"]);
    assert_eq!(code, Some(0), "{stderr}");
    let told = stderr.lines().find(|line| line.contains("could not be read in the guest: File name too long"));
    assert!(told.is_some_and(|line| line.contains("dddd…") && line.len() < 500), "{stderr}");
    fs::remove_dir_all(scratch).unwrap();
}

/// One VM for those that end badly, and the next for what the last one left.
#[test]
fn files_come_home_however_a_test_ends() {
    let scratch = scratch("ends");
    let mut settings = in_vm("6.12", TRANSPORTS[0]).to_vec();
    settings.push(("RUST_TEST_THREADS", "1"));
    let Finished { code, stdout, stderr } = run(&scratch, &settings, &["--ignored", "leaves_a_file"]);
    assert_eq!(code, Some(101), "{stderr}");
    assert!(stdout.contains("0 passed; 4 failed"), "{stdout}");
    let names: Vec<String> = content(&scratch);
    assert_eq!(names, ["of-a-kill 644 1", "of-a-panic 644 1", "of-a-timeout 644 1"], "{stdout}\n{stderr}");
    assert!(stdout.contains("sysrq") || stdout.contains("panic"), "{stdout}");
    assert!(!stdout.contains("tests see what earlier ones left"), "{stdout}");
}
