//! Actions, done in an image's tree by its own programs: no path leads out of it, and no string is split.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::image::action::{self, Action, Op};
use crate::image::build::places::text;
use crate::image::build::sandbox::chroot::Chroot;
use crate::process::Tool;
use crate::{Error, Result};

/// Where a file of the host goes: into the directory of that name, or to that name.
const UPLOAD: &str = r#"dest=$1; [ ! -d "$dest" ] || dest=$dest/$2
cat >"$dest" && chmod "$3" "$dest" && { chown "$4" "$dest" || echo "lvh: $dest keeps its owner"; }"#;
/// What is in a file, if there is one.
const READ: &str = r#"[ ! -e "$1" ] || { [ -f "$1" ] && cat "$1"; }"#;
const APPEND: &str = r#"cat >>"$1""#;
const WRITE: &str = r#"cat >"$1""#;

/// Does what `action` says. Relative paths of the host start at `data_dir`; `step` is what the log calls it.
pub(crate) fn perform(action: &Action, chroot: &Chroot<'_>, data_dir: &Path, step: &str) -> Result<()> {
    match &action.op {
        Op::RunCommand { command } => chroot.run(step, &["/bin/sh", "-c", command]),
        Op::CopyIn { local_path, remote_dir } => copy_in(chroot, step, &data_dir.join(local_path), remote_dir),
        Op::SetHostname { hostname } => set_hostname(chroot, step, hostname),
        Op::Mkdir { dir } => chroot.run(step, &["mkdir", "-p", "--", dir]),
        Op::Upload { file, dest } => upload(chroot, step, &data_dir.join(file), dest),
        Op::Chmod { permissions, file } => {
            let mode = format!("{:04o}", action::permissions(permissions)?);
            chroot.run(step, &["chmod", &mode, "--", file])
        }
        Op::AppendLine { file, line } => {
            let content = chroot.output(READ, &[file])?;
            chroot.write(step, APPEND, &[file], &action::to_append(content.as_bytes(), line))
        }
        Op::Link { target, link } => {
            link.split(':').try_for_each(|link| chroot.run(step, &["ln", "-sf", "--", target, link]))
        }
        Op::InstallKernel { kernel_install_dir } => install_kernel(chroot, step, &data_dir.join(kernel_install_dir)),
        Op::TarIn { tar_file, remote_dir } => {
            let path = data_dir.join(tar_file);
            let file = File::open(&path).map_err(|error| Error::path("open", &path, error))?;
            unpack(chroot, step, file, remote_dir)
        }
    }
}

/// Packs what is at `path`, by its last name, and unpacks that in the directory `into`, which must be there.
fn copy_in(chroot: &Chroot<'_>, step: &str, path: &Path, into: &str) -> Result<()> {
    let path = std::path::absolute(path).map_err(|error| Error::path("find", path, error))?;
    let archive = chroot.work.join("input");
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::path("copy", &path, std::io::ErrorKind::InvalidInput.into()));
    };
    let options = ["--format=posix", "--numeric-owner", "--sort=name", "--pax-option=delete=atime,delete=ctime", "-cf"];
    let tar = Tool::new("tar", "tar")?.args(options).args([archive.as_path(), Path::new("-C"), parent]);
    tar.args(["--"]).args([name]).stop_on(chroot.stop.flag()).run()?;
    let file = File::open(&archive).map_err(|error| Error::path("open", &archive, error))?;
    unpack(chroot, step, file, into)
}

fn unpack(chroot: &Chroot<'_>, step: &str, archive: File, into: &str) -> Result<()> {
    chroot.feed(step, &["tar", "--numeric-owner", "-xpf", "-", "-C", into], archive)
}

fn upload(chroot: &Chroot<'_>, step: &str, path: &Path, dest: &str) -> Result<()> {
    let failed = |error| Error::path("open", path, error);
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let name = text(Path::new(path.file_name().unwrap_or_default()))?;
    let mode = format!("{:04o}", metadata.permissions().mode() & 0o7777);
    let owner = format!("{}:{}", metadata.uid(), metadata.gid());
    chroot.feed(step, &["/bin/sh", "-c", UPLOAD, "sh", dest, name, &mode, &owner], file)
}

fn set_hostname(chroot: &Chroot<'_>, step: &str, hostname: &str) -> Result<()> {
    let old = chroot.output(READ, &["/etc/hostname"])?;
    let hosts = chroot.output(READ, &["/etc/hosts"])?;
    chroot.write(step, WRITE, &["/etc/hostname"], format!("{hostname}\n").as_bytes())?;
    let renamed = action::renamed_in_hosts(&hosts, old.lines().next().unwrap_or_default().trim(), hostname);
    match renamed == hosts {
        true => Ok(()),
        false => chroot.write(step, WRITE, &["/etc/hosts"], renamed.as_bytes()),
    }
}

fn install_kernel(chroot: &Chroot<'_>, step: &str, dir: &Path) -> Result<()> {
    let kernel = action::find_kernel(dir)?;
    copy_in(chroot, step, &dir.join("boot"), "/")?;
    copy_in(chroot, step, &dir.join("lib/modules"), "/lib/")?;
    chroot.run(step, &["ln", "-sf", "--", &format!("/{kernel}"), "/vmlinuz"])
}

/// Removes what an action needed beside the tree.
pub(crate) fn clean(chroot: &Chroot<'_>) {
    // It is gone with the directory, if not now.
    let _ = fs::remove_file(chroot.work.join("input"));
}
