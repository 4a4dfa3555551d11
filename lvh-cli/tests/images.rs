//! `lvh images`: in scripts all that needs no image; then what is built and what comes from a registry.

#[expect(dead_code, reason = "scripts call `lvh` through a shell")]
mod project;
mod script;
#[expect(dead_code, reason = "of the registry's ways in, these tests need the open one")]
#[path = "../../lvh-oci/tests/registry/support/server.rs"]
mod server;

#[path = "images/built.rs"]
mod built;

#[path = "images/registry.rs"]
mod registry;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use built::{Built, images};
use lvh_core::{Config, Events, image};

#[test]
fn build() {
    script::check("images/build.txt");
}

#[test]
fn command_line() {
    script::check("images/command-line.txt");
}

/// All that is built shares one image from packages: that takes most of a minute.
#[test]
fn what_is_built() {
    let site = Built::new();
    // The parent is built because it is missing.
    let output = site.lvh(&["-i", "bad"]);
    check_failure(&site, &output);
    let line = "image:child      cachedImageUsed:false cachedImageDeleted:\n";
    site.check(&["-i", "child"], line);
    check_content(&site);
    site.check(&["-i", "child"], &line.replace("false", "true"));
    check_two_builders(&site);
    check_changed_file(&site);
    check_grown(&site);
    check_built_for_a_test(&site);
    check_interrupted(&site);
    check_killed(&site);
    check_unknown_package(&site);
    check_full_disk(&site);
}

/// Where no user namespaces are allowed, which is told, a VM makes the same image as a namespace does; its commands have a kernel and a network of
/// their own. The parent is busybox: that keeps it short.
#[test]
fn a_vm_makes_the_same_image() {
    let site = Built::new();
    let same = r#"{"name": "same", "parent": "tiny", "image_size": "48M", "actions": [
        {"type": "copy-in", "op": {"LocalPath": "copied", "RemoteDir": "/opt"}},
        {"type": "run-command", "op": {"Cmd": "set -e; echo $(id -u)x > /ran; echo \"$(sh /opt/copied/link) a  b\" >> /ran; chown 7:8 /ran"}},
        {"type": "append-line", "op": {"File": "/ran", "Line": "$HOME 'second'"}},
        {"type": "run-command", "op": {"Cmd": "sed -i 's/ttyS0/& of=mine/' /extlinux.conf"}}]}"#;
    let bad = r#"{"name": "bad", "parent": "tiny", "image_size": "48M", "actions": [
        {"type": "run-command", "op": {"Cmd": "uname -r; cat /etc/resolv.conf; echo x > /proc/sys/kernel/hostname && date -s '2020-01-01 00:00:00' && false"}}]}"#;
    fs::write(site.path("D/images.json"), format!("[{same}, {bad}, {{\"name\": \"boots\"}}]")).unwrap();
    site.make_tiny();
    check_no_grub(&site);
    site.check(&["-i", "same"], "image:same       cachedImageUsed:false cachedImageDeleted:\n");
    let image = site.path("D/images/same");
    let before = fs::read(&image).unwrap();
    assert_eq!(site.debugfs(&image, "cat /ran"), "0x\nscript a  b\n$HOME 'second'\n");
    check_boots(
        &site,
        "same",
        "initrd: BOOT_IMAGE=///vmlinuz initrd=initrd.img root=/dev/vda rw console=ttyS0 of=mine",
    );

    let lvh = site.command(&["--force-rebuild", "-i", "same", "-i", "bad"]);
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", forbid, "sh"]).arg(lvh.get_program()).args(lvh.get_args());
    let output = command.current_dir(site.dir.path()).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = "images are built in a VM, which takes longer: this machine does not let lvh make a user namespace\n";
    assert!(said.matches(told).count() == 1, "{said}");
    assert!(
        said.contains("error: images errors:bad: building failed: action 1 (run-command) failed: `/bin/sh` ended"),
        "{said}"
    );
    assert!(said.contains("\n6.12.") && said.contains("\nnameserver 10.0.2.3\n"), "{said}");
    assert!(said.contains("\nWed Jan  1 00:00:00 "), "{said}");
    assert!(fs::read(&image).unwrap() == before, "{said}");
    assert_eq!(fs::read_dir(site.path("D/images-failed")).unwrap().count(), 1);
    assert!(!site.path("D/images/.same.build").exists() && !site.path("D/images/.bad.build").exists());
}

/// An image that is to boot by itself needs GRUB, which is told before anything is done.
fn check_no_grub(site: &Built) {
    let without = "mkdir bin && ln -s /usr/bin/* bin && rm bin/grub-mkimage && PATH=$PWD/bin exec \"$@\"";
    let lvh = site.command(&["-i", "boots"]);
    let mut command = Command::new("sh");
    command.args(["-c", without, "sh"]).arg(lvh.get_program()).args(lvh.get_args());
    let output = command.current_dir(site.dir.path()).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected =
        "error: images errors:boots: `grub-mkimage` was not found in PATH\n\nhint: apt install grub-common\n";
    assert!(said.ends_with(expected) && !said.contains("installing packages"), "{said}");
}

/// A PC's firmware starts the boot loader of an image, and that its kernel.
fn check_boots(site: &Built, image: &str, expected: &str) {
    let mut command = Command::new("timeout");
    command.args(["300", env!("CARGO_BIN_EXE_lvh"), "run", "--dir", "D", "--mem", "1G", "--image", image]);
    let output = command.current_dir(site.dir.path()).stdin(Stdio::null()).output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success() && out.contains(expected), "{out}{err}");
}

/// An image from packages boots by itself, with the kernel that it brings.
#[test]
#[ignore = "installs Debian's kernel, which takes minutes"]
fn a_whole_image_boots() {
    let site = Built::new();
    let whole = r#"[{"name": "whole.qcow2", "variant": "minbase", "actions": [
        {"type": "upload", "op": {"File": "init", "Dest": "/sbin/init"}},
        {"type": "run-command", "op": {"Cmd": "chmod 755 /sbin/init"}}]}]"#;
    let init =
        "#!/bin/sh\nmount -t proc none /proc\necho up on $(uname -s)\necho o > /proc/sysrq-trigger\nread forever\n";
    fs::write(site.path("D/images.json"), whole).unwrap();
    fs::write(site.path("D/init"), init).unwrap();
    site.check(&[], "image:whole.qcow2 cachedImageUsed:false cachedImageDeleted:\n");
    check_boots(&site, "whole.qcow2", "up on Linux");
}

/// The systemd of an image of `suite` with these `packages` too, made in `site`, gets up with lvh's agent.
fn check_agent(site: &Built, suite: &str, packages: &str, more: &str) {
    let image = r#"[{"name": "s.qcow2", "variant": "minbase", "packages": ["systemd-sysv", "udev", "PACKAGES"] MORE}]"#;
    let images = image.replace("PACKAGES", packages).replace("MORE", more);
    fs::write(site.path("D/images.json"), images).unwrap();
    let lvh = |arguments: &[&str]| {
        let mut lvh = Command::new(env!("CARGO_BIN_EXE_lvh"));
        lvh.args(arguments).current_dir(site.dir.path()).stdin(Stdio::null()).output().unwrap()
    };
    let built = lvh(&["images", "build", "--dir", "D", "--pkg-repo", suite]);
    assert!(built.status.success(), "{built:?}");
    let run = "run --dir D --mem 1G --daemonize --console-log-file log --agent ./agent --image s.qcow2";
    let started = lvh(&run.split(' ').collect::<Vec<_>>());
    assert!(started.status.success(), "{started:?}");
    let state = lvh(&["attach", "--wait", "5m", "./agent", "--", "systemctl", "is-system-running", "--wait"]);
    assert_eq!(String::from_utf8_lossy(&state.stdout), "running\n", "{state:?}");
    let end = ["attach", "--wait", "1m", "./agent", "--", "systemctl", "poweroff", "--force", "--force"];
    assert!(lvh(&end).status.code().is_some());
}

/// lvh starts the kernel that an image's boot loader would start, with the drivers of the image, and any systemd takes the agent
/// that it brings along.
#[test]
fn systemd_starts_the_agent_that_comes_with_the_images_kernel() {
    let site = Built::new();
    site.make_kernel(&["arch", "crypto", "drivers/block", "drivers/virtio", "fs", "lib", "net/9p"]);
    let more = r#", "bootable": false, "actions": [
        {"type": "install-kernel", "op": {"KernelInstallDir": "real"}},
        {"type": "append-line", "op": {"File": "/extlinux.conf", "Line": "label linux"}},
        {"type": "append-line", "op": {"File": "/extlinux.conf", "Line": "kernel vmlinuz"}},
        {"type": "append-line", "op": {"File": "/extlinux.conf", "Line": "append initrd=none systemd.default_timeout_start_sec=infinity"}}]"#;
    check_agent(&site, "bookworm", "kmod", more);
}

/// systemd, 256 or newer, starts lvh's agent in an image whose boot loader has to start the kernel: the firmware's tables tell it.
#[test]
#[ignore = "installs Debian's kernel and systemd, which takes minutes"]
fn systemd_of_an_image_starts_the_agent() {
    let more = r#", "actions": [{"type": "append-line", "op": {"File": "/extlinux.conf", "Line": "include none"}}]"#;
    check_agent(&Built::new(), "trixie", "linux-image-cloud-amd64", more);
}

/// Its parent stays, it does not; disk and log are kept.
fn check_failure(site: &Built, output: &Output) {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert_eq!(out, "image:base.qcow2 cachedImageUsed:false cachedImageDeleted:\n", "{err}");
    let said = "error: images errors:bad: building failed: action 2 (run-command: mine) failed: \
                `/bin/sh` ended with exit code 3\n---- output ----\nlast words\n----------------\n";
    assert!(err.contains(said), "{err}");
    let failed: Vec<PathBuf> = fs::read_dir(site.path("D/images-failed")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(err.contains(&format!("is in `{}`", failed[0].display())), "{err}");
    let log = fs::read_to_string(failed[0].join("log")).unwrap();
    assert!(log.contains("==> action 2 (run-command: mine)\nlast words\n"), "{log}");
    assert!(site.debugfs(&failed[0].join("bad"), "stat /until-then").contains("Type: directory"));
    assert!(!site.path("D/images/bad").exists() && !site.path("D/images/.bad.build").exists());
}

/// What the actions of the parent and of the child have done.
fn check_content(site: &Built) {
    let disk = site.path("D/images/child");
    let cat = |path: &str| site.debugfs(&disk, &format!("cat {path}"));
    let stat = |path: &str| site.debugfs(&disk, &format!("stat {path}"));
    assert_eq!(cat("/ran"), "from 0\n");
    assert_eq!(cat("/child"), "script\n");
    assert_eq!(cat("/etc/hostname"), "named\n");
    assert_eq!(cat("/etc/lines"), "first\n$HOME 'second'\n");
    assert_eq!(cat("/a/uploaded"), "#!/bin/sh\n");
    assert!(stat("/a/uploaded").contains("Mode:  0705"), "{}", stat("/a/uploaded"));
    assert!(stat("\"/a/b c:d/up:load.sh\"").contains("Mode:  0640"));
    for link in ["/a/x", "/a/y"] {
        assert!(stat(link).contains("Fast link dest: \"/a/uploaded\""), "{}", stat(link));
    }
    assert!(stat("/vmlinuz").contains("Fast link dest: \"/boot/vmlinuz-1.2\""));
    assert_eq!(cat("/boot/vmlinuz-1.2") + &cat("/usr/lib/modules/1.2/modules.dep"), "kernelmodules");
    assert_eq!(stat("/a/tarred"), "", "the child removed it");
    // Of the host, and of what was only needed to build.
    assert_eq!(cat("/etc/resolv.conf"), "nameserver 10.0.2.3\n");
    for path in ["/usr/sbin/policy-rc.d", "/etc/apt/apt.conf.d/99mmdebstrap", "/run/lvh", "/var/log/dpkg.log"] {
        assert_eq!(stat(path), "", "{path}");
    }
    let release = cat("/usr/lib/os-release");
    assert!(release.contains(&format!("VERSION_CODENAME={}", site.suite)), "{release}");
    assert_eq!(fs::metadata(&disk).unwrap().len(), 1 << 30, "as large as its parent");
}

/// A test that names an image of `images.json` has it built; its parent stays, whatever suite tests build of.
fn check_built_for_a_test(site: &Built) {
    let parent = || fs::metadata(site.path("D/images/base.qcow2")).unwrap().modified().unwrap();
    let before = parent();
    fs::remove_file(site.path("D/images/child")).unwrap();
    let config = Config::parse(&site.path("lvh.toml"), "data-dir = 'D'").unwrap();
    let (source, store) = (config.image("child").unwrap(), config.store().unwrap());
    let image = image::resolve_blocking("child", &source, &store, &Events::silent()).unwrap();
    assert_eq!((image.path.as_path(), parent()), (site.path("D/images/child").as_path(), before));
    assert_eq!(site.debugfs(&image.path, "cat /ran"), "from 0\n");
}

/// Of two that want an image at once one builds it.
fn check_two_builders(site: &Built) {
    fs::remove_file(site.path("D/images/child")).unwrap();
    let builders = [(); 2].map(|()| site.start(&["-i", "child"]));
    let mut lines = builders.map(|builder| {
        let output = builder.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    lines.sort();
    let line = |cached| format!("image:child      cachedImageUsed:{cached} cachedImageDeleted:\n");
    assert_eq!(lines, [line(false), line(true)]);
}

/// An image follows the files that it takes, where lvh made it.
fn check_changed_file(site: &Built) {
    let edited = images()
        .replace("/opt/copied/link > /child", "true")
        .replace("\"name\": \"child\"", "\"name\": \"child\", \"packages\": []");
    fs::write(site.path("D/images.json"), edited).unwrap();
    let image = site.path("D/images/child").display().to_string();
    let why = format!("image '{image}' was made of something else than it is configured to be");
    site.check(&["-i", "child"], &format!("image:child      cachedImageUsed:false cachedImageDeleted:{why}\n"));
}

/// An image that gets its first child is built again with what that needs: its disk cannot tell all.
fn check_grown(site: &Built) {
    let json = fs::read_to_string(site.path("D/images.json")).unwrap();
    let grown = json.replacen("[", "[{\"name\": \"heir\", \"parent\": \"child\"},", 1);
    fs::write(site.path("D/images.json"), grown).unwrap();
    let image = site.path("D/images/child").display().to_string();
    let why = format!("image '{image}' was made without what images need that are made from it");
    let heir = "image:heir       cachedImageUsed:false cachedImageDeleted:\n";
    let lines = format!("image:child      cachedImageUsed:false cachedImageDeleted:{why}\n{heir}");
    site.check(&["-i", "heir"], &lines);
    let attributes = site.debugfs(&site.path("D/images/heir"), "ea_list /capable");
    assert!(attributes.contains("security.capability (20)"), "{attributes}");
    site.check(&["-i", "heir"], &heir.replace("false", "true"));
}

/// Nothing runs on and nothing is left when somebody wants lvh to end; nothing runs on when it is killed.
fn check_interrupted(site: &Built) {
    let names = |site: &Built| {
        let names = fs::read_dir(site.path("D/images")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains("slow") && !name.ends_with(".lock")).collect::<Vec<_>>()
    };
    for signal in [libc::SIGKILL, libc::SIGINT] {
        let mut builder = site.start(&["-i", "slow"]);
        wait_for(&mut builder, true);
        // SAFETY: kill takes plain numbers.
        unsafe { libc::kill(builder.id().cast_signed(), signal) };
        wait_for(&mut builder, false);
        let output = builder.wait_with_output().unwrap();
        if signal == libc::SIGINT {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.ends_with("error: images errors:slow: stopped\n"), "{said}");
            assert_eq!(names(site), [""; 0]);
        }
    }
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(".build"));
}

/// Killed at whatever moment, it leaves the image as it was, complete, or none.
fn check_killed(site: &Built) {
    let image = site.path("D/images/child");
    for moment in [60, 350, 700, 1100, 1600, 2300] {
        let _ = fs::remove_file(&image);
        let mut builder = site.start(&["-i", "child"]);
        sleep(Duration::from_millis(moment));
        builder.kill().unwrap();
        builder.wait().unwrap();
        if image.exists() {
            assert_eq!(site.debugfs(&image, "cat /ran"), "from 0\n", "after {moment} ms");
        }
    }
    let output = site.lvh(&["-i", "child"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(site.debugfs(&image, "cat /ran"), "from 0\n");
}

fn check_unknown_package(site: &Built) {
    let output = site.lvh(&["-i", "typo"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let expected = "building failed: failed to install packages: Unable to locate package no-such-package: ";
    assert!(said.contains(expected) && said.contains("\nE: Unable to locate package no-such-package\n"), "{said}");
    assert!(!site.path("D/images/typo").exists());
}

/// Where the disk is full: the directory of images is a small file system, in a namespace of mounts of its own.
fn check_full_disk(site: &Built) {
    let images = site.path("full/images");
    fs::create_dir_all(&images).unwrap();
    fs::copy(site.path("D/images.json"), site.path("full/images.json")).unwrap();
    let full = "mount -t tmpfs -o size=2M none full/images && ln -s ../../D/images/base.qcow2 full/images/base.qcow2 && \
                { \"$@\"; code=$?; ls -A full/images; exit $code; }";
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = Command::new("unshare");
    command.args(if is_root { &[][..] } else { &["--user", "--map-root-user", "--map-auto"] });
    command.args(["--mount", "sh", "-c", full, "sh"]);
    command.arg(env!("CARGO_BIN_EXE_lvh")).args(["images", "--dir", "full", "build", "-i", "slow"]);
    let output = command.current_dir(site.dir.path()).stdin(Stdio::null()).output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("error: images errors:slow: ") && err.contains("No space left on device"), "{err}");
    assert_eq!(out, ".base.qcow2.digest\n.base.qcow2.lock\n.slow.lock\nbase.qcow2\n", "{err}");
}

/// Waits until the command of the slow image runs, or does not.
fn wait_for(builder: &mut Child, running: bool) {
    let start = Instant::now();
    let runs = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
            .any(|line| line == b"sleep\098765\0")
    };
    while runs() != running {
        assert!(start.elapsed() < Duration::from_secs(120), "waiting for {running}");
        assert!(!running || builder.try_wait().unwrap().is_none(), "it ended");
        sleep(Duration::from_millis(200));
    }
}
