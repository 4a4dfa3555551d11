//! `lvh run`, in scripts: its flags, what it prints and its exit code.

mod project;
mod script;

use std::fs;

use lvh_oci::{Content, Pack, Platform};
use project::Project;

#[test]
fn command_line() {
    script::check("run/command-line.txt");
}

#[test]
fn errors() {
    script::check("run/errors.txt");
}

/// An image that is no file comes out of what `--image` names, and standard output says where it is.
#[test]
fn an_image_is_pulled() {
    let project = Project::new("");
    fs::write(project.dir().join("kind_6.6.qcow2"), b"QFI\xfb\0\0\0\x03").unwrap();
    let contents = [("kind_6.6.qcow2", "data/images/kind_6.6.qcow2"), ("lvh.toml", "data/images/about")];
    let contents = contents.map(|(from, to)| Content { from: project.dir().join(from), to: to.to_owned() }).into();
    let platform: Platform = "linux/arm64".parse().unwrap();
    let pack = Pack { contents, platform, annotations: Default::default(), tag: Some("main".to_owned()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(lvh_oci::pack(pack, &project.dir().join("layout"))).unwrap();

    let args = ["run", "--dir", "D", "--image", "oci:layout:main", "--qemu-arch", "arm64", "--qemu-cmd-print"];
    let output = project.lvh(&args, &[("LVH_OFFLINE", "1")]);
    project::check(&output, 0, "`oci:layout:main`: in `D/images`");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("Autodetected image D/images/kind_6.6.qcow2 inside oci:layout:main\nqemu-"), "{said}");
    assert!(said.contains("file=D/images/kind_6.6.qcow2,if=virtio,index=0,media=disk,format=qcow2,"), "{said}");
    // Of another platform there is none.
    let output = project.lvh(&["run", "--image", "oci:layout:main", "--qemu-arch", "amd64"], &[("LVH_OFFLINE", "1")]);
    project::check(&output, 1, "error: unable to pull image: ");
    project::check(&output, 1, "unable to find local file \"oci:layout:main\"\n");
}
