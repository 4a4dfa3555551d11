//! A data directory with images to build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use lvh_core::{Config, Events, kernel};
use tempfile::TempDir;

/// A data directory with an image of another release than this machine's, in which every action has its part, and images that are
/// made from it.
const IMAGES: &str = r#"[
{"name": "base.qcow2", "bootable": false, "variant": "minbase", "image_size": "1G", "packages": ["systemd"], "actions": [
    {"type": "run-command", "op": {"Cmd": "set -e; passwd -d root; systemctl restart nothing; [ $$ != 1 ]; [ ! -e /proc/1/root/etc/hostname ] || ! [ /proc/1/root -ef / ]; ! echo x > /proc/sys/kernel/hostname; date -s @1; [ $(date +%s) -gt 1000000000 ]; echo from $(id -u) > /ran"}},
    {"type": "copy-in", "op": {"LocalPath": "copied", "RemoteDir": "/opt"}},
    {"type": "set-hostname", "op": {"Hostname": "named"}},
    {"type": "mkdir", "op": {"Dir": "/a/b c:d"}},
    {"type": "upload", "op": {"File": "up:load.sh", "Dest": "/a/uploaded"}},
    {"type": "upload", "op": {"File": "up:load.sh", "Dest": "/a/b c:d"}},
    {"type": "chmod", "op": {"Permissions": "0705", "File": "/a/uploaded"}},
    {"type": "append-line", "op": {"File": "/etc/lines", "Line": "first"}},
    {"type": "append-line", "op": {"File": "/etc/lines", "Line": "$HOME 'second'"}},
    {"type": "link", "op": {"Target": "/a/uploaded", "Link": "/a/x:/a/y"}},
    {"type": "install-kernel", "op": {"KernelInstallDir": "kernel"}},
    {"type": "tar-in", "op": {"TarFile": "files.tar", "RemoteDir": "/a"}}
]},
{"name": "child", "parent": "base.qcow2", "actions": [
    {"type": "run-command", "op": {"Cmd": "/opt/copied/link > /child; rm /a/tarred; CAPABLE"}}
]},
{"name": "bad", "parent": "base.qcow2", "actions": [
    {"type": "mkdir", "op": {"Dir": "/until-then"}},
    {"comment": "mine", "type": "run-command", "op": {"Cmd": "echo last words; exit 3"}}
]},
{"name": "typo", "parent": "base.qcow2", "packages": ["no-such-package"]},
{"name": "slow", "parent": "base.qcow2", "actions": [
    {"type": "run-command", "op": {"Cmd": "sleep 98765"}}
]}
]"#;

/// Gives a file a capability, CAP_NET_RAW (linux/capability.h), by setxattr: the image has no setcap.
const CAPABLE: &str = "perl -e 'my $v = pack(q(V5), 0x02000001, 0x2000, 0, 0, 0); my ($f, $n) = (q(/capable), q(security.capability)); open F, q(>), $f; close F; syscall(188, $f, $n, $v, 20, 0) == 0 or die $!'";

/// As the Go tool has it in its images.
const EXTLINUX: &str = "
default linux
timeout 0

label linux
kernel /vmlinuz
append initrd=initrd.img root=/dev/vda rw console=ttyS0
";
/// The init of an initial RAM disk.
const INIT: &str = "#!/busybox sh
/busybox mount -t proc none /proc
echo initrd: $(/busybox cat /proc/cmdline)
/busybox poweroff -f
";

pub(crate) fn images() -> String {
    IMAGES.replace("CAPABLE", CAPABLE)
}

/// The data directory.
pub(crate) struct Built {
    pub(crate) dir: TempDir,
    pub(crate) suite: &'static str,
}

impl Built {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let release = fs::read_to_string("/etc/os-release").unwrap();
        let suite = if release.contains("trixie") { "bookworm" } else { "trixie" };
        let site = Self { dir, suite };
        let images = images();
        let files = [
            ("images.json", images.as_str()),
            ("copied/script", "echo script\n"),
            ("up:load.sh", "#!/bin/sh\n"),
            ("kernel/boot/vmlinuz-1.2", "kernel"),
            ("kernel/lib/modules/1.2/modules.dep", "modules"),
            ("tarred", "of the archive"),
        ];
        for (name, text) in files {
            let path = site.path("D").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let prepare =
            "chmod 755 copied/script; ln -s script copied/link; chmod 640 up:load.sh; tar -cf files.tar tarred";
        assert!(Command::new("sh").args(["-c", prepare]).current_dir(site.path("D")).status().unwrap().success());
        site
    }

    /// An image called `tiny` that was not made by lvh: busybox, what says that it is a package, a kernel, and what that is to be booted
    /// with.
    pub(crate) fn make_tiny(&self) {
        let config = Config::discover(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let (source, store) = (config.kernel("6.12").unwrap(), config.store().unwrap());
        let kernel = kernel::resolve_blocking("6.12", &source, &store, &Events::silent()).unwrap();
        for (name, text) in [("tiny/extlinux.conf", EXTLINUX), ("initrd/init", INIT)] {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::copy(&kernel.image, self.path("tiny/vmlinuz")).unwrap();
        let make = "set -e; mkdir -p tiny/bin tiny/etc tiny/opt tiny/proc tiny/dev tiny/run D/images; cp \"$(command -v busybox)\" tiny/bin/busybox
            for applet in $(busybox --list); do [ $applet = busybox ] || ln -s busybox tiny/bin/$applet; done
            rm -f tiny/bin/dpkg*
            mkdir initrd/proc; cp tiny/bin/busybox initrd; chmod 755 initrd/init
            (cd initrd && find . | busybox cpio -o -H newc) > tiny/initrd.img
            chown -R 0:0 tiny 2> /dev/null || true; PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 -d tiny D/images/tiny 48M";
        assert!(Command::new("sh").args(["-c", make]).current_dir(self.dir.path()).status().unwrap().success());
    }

    /// A real kernel for `install-kernel`, in `D/real`, with the modules below `parts`.
    pub(crate) fn make_kernel(&self, parts: &[&str]) {
        let config = Config::discover(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let (source, store) = (config.kernel("6.12").unwrap(), config.store().unwrap());
        let kernel = kernel::resolve_blocking("6.12", &source, &store, &Events::silent()).unwrap();
        let make = r#"set -e; image=$1 config=$2 modules=$3 release=$4; shift 4
            to=D/real/lib/modules/$release; mkdir -p D/real/boot "$to"
            cp "$image" "D/real/boot/vmlinuz-$release"; cp "$config" "D/real/boot/config-$release"
            cp "$modules"/modules.builtin* "$modules/modules.order" "$to"
            (cd "$modules/kernel" && tar -c "$@") | (mkdir "$to/kernel" && tar -x -C "$to/kernel")
            PATH=$PATH:/usr/sbin:/sbin depmod -b D/real "$release""#;
        let mut sh = Command::new("sh");
        sh.args(["-c", make, "sh"]).args([kernel.image, kernel.config.unwrap(), kernel.modules.unwrap()]);
        sh.arg(kernel.release.as_str()).args(parts).current_dir(self.dir.path());
        assert!(sh.status().unwrap().success());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, args: &[impl AsRef<str>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lvh"));
        command.args(["images", "--dir", "D", "build", "--pkg-repo", self.suite]);
        command.args(args.iter().map(AsRef::as_ref)).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn lvh(&self, args: &[impl AsRef<str>]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn start(&self, args: &[impl AsRef<str>]) -> Child {
        self.command(args).spawn().unwrap()
    }

    #[track_caller]
    pub(crate) fn check(&self, args: &[&str], stdout: &str) {
        let output = self.lvh(args);
        let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert_eq!((output.status.code(), out.as_str()), (Some(0), stdout), "{err}");
    }

    /// What debugfs prints of a disk.
    pub(crate) fn debugfs(&self, disk: &Path, request: &str) -> String {
        let mut command = Command::new("debugfs");
        command.env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin");
        String::from_utf8(command.args(["-R", request]).arg(disk).output().unwrap().stdout).unwrap()
    }
}
