//! VMs whose root is the disk of an image.

#[expect(dead_code, reason = "of the registry's ways in, these tests need the open one")]
#[path = "../../lvh-oci/tests/registry/support/server.rs"]
mod server;

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::thread;

use server::{Flavour, Registry};

use lvh_tests::{Finished, Project, Report, TestTarget, busybox_disk, empty_directory, lvh};

fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// An image without a C library.
static DISK: LazyLock<PathBuf> = LazyLock::new(|| busybox_disk(scratch(), "images-disk", &[]));

/// A package whose image `base` that is, and `packed` the same in another format.
fn project(name: &str) -> Project {
    let disk = DISK.display();
    let toml = format!("[images.base]\npath = '{disk}'\n[images.packed]\npath = 'disk.qcow2'\n");
    let project = Project::new(scratch(), name, &toml);
    let mut convert = Command::new("qemu-img");
    convert.args(["convert", "-O", "qcow2"]).arg(&*DISK).arg(project.dir.join("disk.qcow2"));
    assert!(convert.status().expect("QEMU brings qemu-img").success());
    fs::write(project.dir.join("fixture"), "of the workspace\n").unwrap();
    project
}

fn exec(project: &Project, arguments: &[&str]) -> Finished {
    let mut command = lvh();
    command.arg("exec").args(arguments);
    project.own(&mut command);
    Finished::of(&mut command)
}

/// The command sees the image's files, and the workspace; the image stays as it was.
#[test]
fn a_command_runs_on_an_image() {
    let project = project("images-exec");
    let before = fs::read(&*DISK).unwrap();
    let script = "cat /etc/os-release fixture; echo $PATH; touch /etc/gone fixture; ls /etc";
    let disk = project.dir.join("disk.qcow2");
    for image in ["base", "packed", "./disk.qcow2", disk.to_str().unwrap()] {
        let Finished { code, stdout, stderr } = exec(&project, &["--image", image, "--", "sh", "-c", script]);
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        assert_eq!(stdout, format!("ID=of-the-disk\nof the workspace\n{path}\ngone\nos-release\n"), "{stderr}");
        assert_eq!(code, Some(0));
        let name = if image.contains('/') { disk.to_str().unwrap() } else { image };
        assert!(stderr.contains(&format!(", image {name} sha256:")), "{stderr}");
    }
    assert!(before == fs::read(&*DISK).unwrap(), "the disk was written to");
}

#[test]
fn an_image_that_cannot_be_had_says_why() {
    let project = project("images-absent");
    fs::write(project.dir.join("empty"), "").unwrap();
    fs::write(project.dir.join("text"), "no file system\n").unwrap();
    let check = |image: &str, exit: i32, expected: &str| {
        let Finished { code, stderr, .. } = exec(&project, &["--image", image, "true"]);
        assert!(stderr.contains(expected), "{image}: {stderr}");
        assert_eq!(code, Some(exit), "{stderr}");
    };
    check("bsae", 2, "is not in `");
    check("bsae", 2, "(known: base, packed)\n\nhint: did you mean `base`?");
    check("./absent.qcow2", 2, "absent.qcow2` does not exist");
    check("./temporary", 2, "temporary` is no file\n\nhint: name a disk image, raw or qcow2");
    check("./empty", 2, "/empty` is empty");
    check("./text", 125, "failed to mount `ext4 disk lvh-root`");
}

/// A C library that says it is made for Linux 99, which its `.note.ABI-tag` does (Linux Standard Base, "Note Section").
#[test]
fn an_image_made_for_newer_kernels_says_so() {
    let dir = empty_directory(scratch(), "images-newer");
    let library = libraries(Path::new("/bin/sh")).into_iter().find(|path| path.ends_with("libc.so.6")).unwrap();
    let mut bytes = fs::read(&library).unwrap();
    let tag = b"\x04\0\0\0\x10\0\0\0\x01\0\0\0GNU\0\0\0\0\0";
    let at = bytes.windows(tag.len()).position(|window| window == tag).expect("glibc has one") + tag.len();
    bytes[at..at + 4].copy_from_slice(&99_u32.to_le_bytes());
    fs::write(dir.join("libc.so.6"), bytes).unwrap();
    let disk = busybox_disk(&dir, "disk", &[(dir.join("libc.so.6"), library)]);
    let project = Project::new(scratch(), "images-beside-newer", "default-kernels = ['6.12']\n");
    // The second resumes.
    for _ in 0..2 {
        let Finished { code, stderr, .. } = exec(&project, &["--image", disk.to_str().unwrap(), "ls"]);
        let told = stderr.matches(": the image's C library is made for Linux 99.").count();
        assert_eq!((code, told), (Some(0), 1), "{stderr}");
    }
}

/// The files of the host that a program of the host needs: its loader and libraries.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = Command::new("ldd").arg(program).output().unwrap().stdout;
    let words = String::from_utf8(listed).unwrap();
    words.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

/// Publishes the disk as `name`, which it gives.
fn pushed<'n>(disk: &Path, name: &'n str) -> &'n str {
    let dir = empty_directory(scratch(), "images-pushed");
    fs::create_dir(dir.join("images")).unwrap();
    fs::copy(disk, dir.join("images/disk")).unwrap();
    let output = lvh().args(["images", "push", "-i", "disk", name, "--dir"]).arg(&dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    name
}

/// Where tests find the command that fetches images.
fn path_with_lvh() -> OsString {
    let command = lvh();
    let directory = Path::new(command.get_program()).parent().expect("it is called by its path").to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([directory].into_iter().chain(std::env::split_paths(&path))).unwrap()
}

/// Programs that the host built run with the image's libraries where those do, else with the host's.
#[test]
fn tests_run_on_images_with_older_libraries() {
    let target = TestTarget::build("in_images");
    let libraries = libraries(target.executable());
    let of_host = |file: &PathBuf| (file.clone(), file.clone());
    let same: Vec<_> = libraries.iter().map(of_host).collect();
    // One that lacks what newer programs ask of it: another library stands for it.
    let other = libraries.iter().find(|file| file.ends_with("libgcc_s.so.1")).expect("Rust's programs need it");
    let is_libc = |file: &PathBuf| file.ends_with("libc.so.6");
    let older = libraries.iter().map(|file| (if is_libc(file) { other } else { file }.clone(), file.clone()));
    let older = busybox_disk(scratch(), "images-older", &older.collect::<Vec<_>>());
    let same = busybox_disk(scratch(), "images-same", &same);
    let registry = Registry::start(&Flavour::Open);
    let toml = format!(
        "default-kernels = ['6.12']\n[vm]\nenv = ['LVH_TEST_*']\n[images.older]\noci = '{}'\n[images.same]\npath = '{}'\n",
        pushed(&older, &registry.name("disks:main")),
        same.display()
    );
    let project = Project::new(scratch(), "images-harness", &toml);
    let mut command = project.command(&target);
    command.env("PATH", path_with_lvh());
    command
        .env("RUST_BACKTRACE", "1")
        .args(["--show-output", "--test-threads=1", "--skip=runs_beside_systemd", "--skip=never_runs"])
        .env_remove("LVH_KERNELS");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    command.env("LVH_TEST_PORT", listener.local_addr().unwrap().port().to_string());
    thread::spawn(move || listener.incoming().for_each(|peer| drop(peer.unwrap().write_all(b"of the host\n"))));
    let name = "example.org";
    if (name, 80).to_socket_addrs().is_ok() {
        command.env("LVH_TEST_NAME", name);
    }
    let report = Report::of(&mut command);
    assert_eq!(report.result("reaches_the_host"), "ok", "{}", report.block("reaches_the_host"));
    assert_eq!(report.count_stderr(", warm)"), 3, "{}", report.finished().stderr);
    let stdout = &report.finished().stdout;

    let own = libraries.iter().find(|file| is_libc(file)).unwrap().canonicalize().unwrap();
    for (image, library) in [("older", Path::new("/run/.lvh/libc.so.6")), ("same", own.as_path())] {
        let name = format!("a_program_of_the_host_is_itself::6.12+{image}");
        assert_eq!(report.result(&name), "ok", "{stdout}\n{}", report.finished().stderr);
        let block = report.block(&name);
        assert!(block.contains(&format!("exe={}\n", target.executable().display())), "{block}");
        let found = block.lines().find_map(|line| line.strip_prefix("library=")).unwrap();
        assert_eq!(Path::new(found).file_name(), library.file_name(), "{block}");
        assert_eq!(found.starts_with("/run/.lvh/"), image == "older", "{block}");
        assert!(block.contains("::a_program_of_the_host_is_itself\n") && block.contains("images/main.rs:"), "{block}");
    }
    let digest = "image older sha256:";
    report.check_failed("fails", &["images/main.rs:", "on purpose", "::fails\n", digest, "run it again: "]);
    report.check_failed("nobody_has_such_an_image", &["image `oldr` is not in `", "hint: did you mean `older`?"]);

    // The image is here now, and pinned.
    drop(registry);
    let Finished { stdout, stderr, .. } =
        exec(&project, &["--locked", "--image", "older", "--", "cat", "/etc/os-release"]);
    assert_eq!(stdout, "ID=of-the-disk\n", "{stderr}");
    assert!(stderr.contains(digest), "{stderr}");

    // A guest that sees nothing of the host's has the same.
    command.env("LVH_SHARE", "packed").args(["--exact", "fails"]);
    Report::of(&mut command)
        .check_failed("fails", &["images/main.rs:", "on purpose", "::fails\n", ", packed, image older"]);
}

/// Two images that the tests have built: one whose systemd starts, and one made from it, of which a unit fails.
const WITH_SYSTEMD: &str = r#"
default-kernels = ["6.12"]

[images.debian]
suite = "bookworm"
variant = "minbase"
packages = ["systemd-sysv", "dbus", "kmod"]
image-size = "1G"

[images.broken]
parent = "debian"
actions = [
    { upload = { file = "broken.service", dest = "/etc/systemd/system/broken.service" } },
    { run-command = "systemctl enable broken" },
]
"#;

#[test]
fn the_systemd_of_an_image_is_the_first_process() {
    let project = Project::new(scratch(), "images-beside-systemd", WITH_SYSTEMD);
    let unit = "[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n";
    fs::write(project.dir.join("broken.service"), unit).unwrap();
    let mut command = project.command(&TestTarget::build("in_images"));
    command.args(["--show-output", "runs_beside_systemd", "never_runs"]);
    command.env_remove("LVH_KERNELS");
    let report = Report::of(&mut command);
    let (stdout, stderr) = (&report.finished().stdout, &report.finished().stderr);
    assert_eq!(report.result("runs_beside_systemd"), "ok", "{stdout}\n{stderr}");
    assert!(report.block("runs_beside_systemd").contains("(bookworm)"), "{stdout}");
    let why = "did not boot: units of the image's systemd failed: broken.service";
    report.check_failed("never_runs", &[why, "Process: ", "ExecStart=/bin/false", "hint: mend or mask them"]);
    // The one that started is kept, the other is not.
    let again = Report::of(&mut command);
    again.check_failed("never_runs", &[why]);
    assert_eq!(again.result("runs_beside_systemd"), "ok", "{}", again.finished().stderr);
    assert_eq!(again.count_stderr(": booting ("), 1, "{}", again.finished().stderr);
}
