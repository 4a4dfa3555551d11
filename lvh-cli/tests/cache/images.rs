//! Images: one made from a disk of busybox, and one made from that.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use super::proxy::{Fault, Proxy};
use super::{Machine, Said, Team, run};

const IMAGES: &str = r#"[
    {"name": "tiny", "parent": "base", "actions": [{"type": "mkdir", "op": {"Dir": "/made"}}]},
    {"name": "heir", "parent": "tiny", "actions": [{"type": "run-command", "op": {"Cmd": "echo here >/made/file"}}]}
]"#;
const MAKING: &str = "making its disk";
const ROOTS_PATH: (&str, &str) = ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");

impl Team {
    /// A machine with an empty data directory, but for the disk and what is made from it.
    fn image_machine(&self, name: &str, proxy: &Proxy) -> Machine {
        let machine = self.machine_with(name, &proxy.name("team/cache"), &self.tarball(""));
        let images = machine.dir.join("data/images");
        fs::create_dir_all(&images).unwrap();
        fs::copy(self.path("base"), images.join("base")).unwrap();
        fs::write(machine.dir.join("data/images.json"), IMAGES).unwrap();
        machine
    }

    /// Makes the disk: busybox under all its names, and one of dpkg.
    fn write_base(&self) {
        let tree = self.path("tree");
        fs::create_dir_all(tree.join("bin")).unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|path| Path::new(path).is_file());
        let busybox = busybox.expect("tests/setup installs busybox");
        fs::copy(busybox, tree.join("bin/busybox")).unwrap();
        let applets = Command::new(busybox).arg("--list").output().unwrap().stdout;
        for applet in String::from_utf8(applets).unwrap().lines().filter(|applet| *applet != "busybox") {
            symlink("busybox", tree.join("bin").join(applet)).unwrap();
        }
        let dpkg = tree.join("bin/dpkg-query");
        fs::write(&dpkg, "#!/bin/sh\necho busybox 1\n").unwrap();
        fs::set_permissions(&dpkg, fs::Permissions::from_mode(0o755)).unwrap();
        File::create(self.path("base")).unwrap().set_len(8 << 20).unwrap();
        let mut mke2fs = Command::new("mke2fs");
        run(mke2fs
            .env(ROOTS_PATH.0, ROOTS_PATH.1)
            .args(["-q", "-t", "ext4", "-d", "tree", "base"])
            .current_dir(&self.dir));
    }
}

impl Machine {
    fn build(&self, vars: &[(&str, &str)]) -> Said {
        self.run(&["update", "heir"], &[&[ROOTS_PATH], vars].concat())
    }

    fn left(&self) -> Vec<String> {
        let mut names = super::entries(&self.dir.join("data/images"));
        names.retain(|name| ["shared", "build"].iter().any(|end| name.ends_with(end)));
        names
    }
}

#[test]
fn what_one_machine_has_made_others_take() {
    let team = Team::new();
    team.write_base();
    // Who may read, and not write.
    let proxy = Proxy::start(&team.registry.address());
    proxy.on("POST /v2/", 9, Fault::Answer("HTTP/1.1 405 Not Allowed\r\nContent-Length: 0\r\n\r\n"));
    let reader = team.image_machine("reader", &proxy).build(&[("LVH_CACHE_PUSH", "1")]);
    reader.check(&reader.kernel, &[MAKING, "image `tiny`: it could not be stored in `127.0.0.1:"], &["looked for"]);
    assert_eq!((team.tags(), reader.stderr.matches("could not").count()), (Vec::new(), 1));

    let second = team.image_machine("second", &team.proxy);
    let made = second.build(&[("LVH_CACHE_PUSH", "1")]);
    made.check(&made.kernel, &["looking in", MAKING, "image `heir`: storing it in `127.0.0.1:"], &["could not"]);
    let tags = team.tags();
    assert_eq!(tags.len(), 3, "one, and the other with and without its tree: {tags:?}");
    assert!(tags.iter().all(|(tag, _)| tag.starts_with("image-")), "{tags:?}");

    // With none of the programs that images are made by.
    let third = team.image_machine("third", &team.proxy);
    let nothing = third.dir.join("no-programs");
    let taken = third.build(&[("PATH", nothing.to_str().unwrap())]);
    taken.check(&made.kernel, &["image `tiny`: looking in", "image `heir`: looking in"], &[MAKING, "could not"]);
    let asked = team.proxy.requests("GET").len();
    third.build(&[("PATH", nothing.to_str().unwrap())]).check(&made.kernel, &[], &["looking in"]);
    assert_eq!(team.proxy.requests("GET").len(), asked);
    for name in [".tiny.made", ".tiny.tree.tar", ".heir.made", "heir"] {
        let [ours, theirs] =
            [&third, &second].map(|machine| fs::read(machine.dir.join("data/images").join(name)).unwrap());
        assert!(ours == theirs, "{name}");
    }
    another_is_never_taken(&team);
    assert_eq!([second.left(), third.left()], [[""; 0]; 2]);
}

/// Somebody moves the tags about.
fn another_is_never_taken(team: &Team) {
    let tags = team.registry.storage().join("repositories/team/cache/_manifests/tags");
    let links: Vec<_> = fs::read_dir(&tags).unwrap().map(|tag| tag.unwrap().path().join("current/link")).collect();
    let targets: Vec<String> = links.iter().map(|link| fs::read_to_string(link).unwrap()).collect();
    let heirs = targets.iter().find(|target| targets.iter().filter(|other| other == target).count() == 1).unwrap();
    links.iter().for_each(|link| fs::write(link, heirs).unwrap());
    let said = team.image_machine("fourth", &team.proxy).build(&[]);
    let words = "image `tiny`: it is built here, for it could not be looked for in `127.0.0.1:";
    said.check(&said.kernel, &[words, "it is another image than its tag says", MAKING], &["heir`: looking in"]);
}
