//! A kernel's source in a git repository: Debian's, without what a small kernel for VMs is not made of.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian's packages `linux-source-VERSION` put it; the first that is there counts.
const ARCHIVES: &[&str] = &["/usr/src/linux-source-6.12.tar.xz", "/usr/src/linux-source-6.1.tar.xz"];

/// Whole directories that are taken.
const DIRECTORIES: &str = "block certs crypto drivers/acpi drivers/base drivers/bus drivers/char drivers/clocksource
    drivers/firmware drivers/idle drivers/iommu drivers/irqchip drivers/misc drivers/pci drivers/platform drivers/pnp
    drivers/ptp drivers/rtc drivers/tty drivers/video drivers/virtio fs include init io_uring ipc kernel lib mm net
    scripts security tools/arch tools/build tools/include tools/lib tools/objtool tools/scripts usr virt";

/// What a kernel of the architecture has beside them.
fn directories_of(arch: &str) -> &'static str {
    match arch {
        "aarch64" => "arch/arm64 drivers/amba drivers/clk drivers/of drivers/perf drivers/power",
        _ => "arch/x86",
    }
}

/// Files that are taken everywhere, for `make` reads those of every driver, whether it is built or not; and the one driver of
/// its directory that is built wherever there is a network.
const FILES: &[&str] = &["*/Kconfig*", "*/Makefile*", "*/Kbuild*", "*/.gitignore", "*/drivers/net/loopback.c"];

/// A repository whose branch `main` is Debian's source, and `test` what a test makes of it.
#[derive(Debug)]
pub struct KernelSource {
    /// The repository's work tree.
    pub dir: PathBuf,
}

impl KernelSource {
    /// The repository in `parent`, made if an earlier run did not, for kernels of this machine; `test` is what `main` is.
    ///
    /// # Panics
    /// If there is no source, or git fails.
    pub fn checked_out(parent: &Path) -> Self {
        Self::checked_out_for(ARCH, parent)
    }

    /// As [`KernelSource::checked_out`], for kernels of `arch`, as Rust calls it.
    ///
    /// # Panics
    /// As [`KernelSource::checked_out`].
    pub fn checked_out_for(arch: &str, parent: &Path) -> Self {
        let archive = ARCHIVES.iter().map(Path::new).find(|archive| archive.is_file());
        let archive =
            archive.expect("there is a package linux-source-6.12 or linux-source-6.1: tests/setup installs it");
        let name = archive.file_name().and_then(|name| name.to_str()?.strip_suffix(".tar.xz")).expect("see ARCHIVES");
        let own = if arch == ARCH { name.to_owned() } else { format!("{name}-{arch}") };
        let source = Self { dir: parent.join(&own) };
        let stamp = format!("{:?}", fs::metadata(archive).expect("it was just there").modified());
        let made = parent.join(format!("{own}.made"));
        if fs::read_to_string(&made).unwrap_or_default() != stamp {
            source.make(archive, name, arch);
            fs::write(made, stamp).expect("the directory can be written to");
        }
        source.git(&["checkout", "--quiet", "--force", "-B", "test", "main"]);
        source
    }

    /// Commits `text` as the file `name`, in place of what the branch `test` had beyond `main`.
    ///
    /// # Panics
    /// If git fails.
    pub fn change(&self, name: &str, text: &str) {
        self.git(&["reset", "--quiet", "--hard", "main"]);
        fs::write(self.dir.join(name), text).expect("the work tree can be written to");
        self.git(&["add", "--force", name]);
        self.git(&["commit", "--quiet", "--all", "--message", "Changed"]);
    }

    /// The archive holds one directory, which is called as it is.
    fn make(&self, archive: &Path, name: &str, arch: &str) {
        let _ = fs::remove_dir_all(&self.dir);
        fs::create_dir_all(&self.dir).expect("the directory can be made");
        let directories = DIRECTORIES.split_whitespace().chain(directories_of(arch).split_whitespace());
        let directories = directories.map(|directory| format!("{name}/{directory}/*"));
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--strip-components=1", "--wildcards", "--wildcards-match-slash", "--file"]);
        tar.arg(archive).arg("--directory").arg(&self.dir).args(FILES).args(directories);
        succeed(&mut tar);
        self.git(&["init", "--quiet", "--initial-branch", "main"]);
        // Nobody keeps it: it need be neither small nor safe, but there soon.
        for (key, value) in [("core.compression", "0"), ("core.fsync", "none"), ("pack.window", "0"), ("gc.auto", "0")]
        {
            self.git(&["config", key, value]);
        }
        self.git(&["add", "--all", "--force"]);
        self.git(&["commit", "--quiet", "--message", "Debian's"]);
    }

    fn git(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=lvh", "-c", "user.email=lvh@localhost", "-C"]).arg(&self.dir).args(arguments);
        succeed(git.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE"));
    }
}

fn succeed(command: &mut Command) {
    let status = command.status().expect("the program starts");
    assert!(status.success(), "{command:?}: {status}");
}
