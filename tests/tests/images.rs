//! VMs whose root is the disk of an image.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use lvh_tests::{Finished, Project, busybox_disk, lvh};

fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// An image without a C library.
static DISK: LazyLock<PathBuf> = LazyLock::new(|| busybox_disk(scratch(), "images-disk"));

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
