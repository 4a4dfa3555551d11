use std::path::{Path, PathBuf};

use super::permissions;
use crate::{Error, ErrorKind, Result};

/// One action.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Action {
    /// What it is for, in people's words. Default: empty.
    pub comment: String,
    /// What is done.
    pub op: Op,
}

/// What an action does. Paths of the host that are relative start at the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// `/bin/sh` of the image runs a command, in the image.
    RunCommand {
        /// The command.
        command: String,
    },
    /// A file or a directory of the host, with all that is in it, is put into a directory, which must be there.
    CopyIn {
        /// The path on the host.
        local_path: String,
        /// The directory in the image.
        remote_dir: String,
    },
    /// The image gets a host name.
    SetHostname {
        /// The name.
        hostname: String,
    },
    /// A directory is made, and those that lead to it.
    Mkdir {
        /// The directory.
        dir: String,
    },
    /// A file of the host becomes one of the image, with its mode and owner.
    Upload {
        /// The path on the host.
        file: String,
        /// The file in the image, or a directory that is there.
        dest: String,
    },
    /// A file gets other permissions.
    Chmod {
        /// A decimal number, or with a `0` in front an octal one.
        permissions: String,
        /// The file.
        file: String,
    },
    /// A line is added behind all others of a file, which is made where it is missing.
    AppendLine {
        /// The file.
        file: String,
        /// The line, without a line break.
        line: String,
    },
    /// Symbolic links are made, in place of what has their names.
    Link {
        /// What they point to.
        target: String,
        /// Their paths, with `:` between them.
        link: String,
    },
    /// A kernel that was built is installed: its `boot` and `lib/modules`, and the link `/vmlinuz`.
    InstallKernel {
        /// The directory on the host that it was installed in.
        kernel_install_dir: String,
    },
    /// The files of an archive of tar are unpacked into a directory, which must be there.
    TarIn {
        /// The archive on the host.
        tar_file: String,
        /// The directory in the image.
        remote_dir: String,
    },
}

impl Default for Op {
    fn default() -> Self {
        Self::RunCommand { command: String::new() }
    }
}

impl Op {
    /// Its name in `images.json`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RunCommand { .. } => "run-command",
            Self::CopyIn { .. } => "copy-in",
            Self::SetHostname { .. } => "set-hostname",
            Self::Mkdir { .. } => "mkdir",
            Self::Upload { .. } => "upload",
            Self::Chmod { .. } => "chmod",
            Self::AppendLine { .. } => "append-line",
            Self::Link { .. } => "link",
            Self::InstallKernel { .. } => "install-kernel",
            Self::TarIn { .. } => "tar-in",
        }
    }

    /// The files and directories of the host that it takes, where the data directory is `dir`.
    pub(crate) fn host_paths(&self, dir: &Path) -> Vec<PathBuf> {
        match self {
            Self::CopyIn { local_path: path, .. }
            | Self::Upload { file: path, .. }
            | Self::TarIn { tar_file: path, .. } => {
                vec![dir.join(path)]
            }
            Self::InstallKernel { kernel_install_dir } => {
                ["boot", "lib/modules"].map(|part| dir.join(kernel_install_dir).join(part)).to_vec()
            }
            _ => Vec::new(),
        }
    }

    /// Refuses what cannot be done, whatever the image: it is asked before anything is built.
    pub(crate) fn check(&self, dir: &Path) -> Result<()> {
        let refuse = |why: String| Err(Error::new(ErrorKind::Usage, why));
        match self {
            Self::Chmod { permissions, .. } => permissions::parse(permissions).map(drop)?,
            Self::AppendLine { line, .. } if line.contains('\n') => {
                return refuse("the line has a line break".to_owned());
            }
            Self::SetHostname { hostname } if hostname.is_empty() || hostname.contains(char::is_whitespace) => {
                return refuse(format!("`{hostname}` is no host name"));
            }
            Self::InstallKernel { kernel_install_dir } => {
                super::find_kernel(&dir.join(kernel_install_dir)).map(drop)?
            }
            _ => {}
        }
        for path in self.host_paths(dir) {
            path.metadata().map_err(|error| Error::path("find", &path, error))?;
        }
        match self {
            Self::Upload { file, .. } | Self::TarIn { tar_file: file, .. } if !dir.join(file).is_file() => {
                refuse(format!("`{}` is no file", dir.join(file).display()))
            }
            _ => Ok(()),
        }
    }
}
