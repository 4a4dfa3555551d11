//! The `actions` of an `[images.NAME]` table, such as `{ run-command = "passwd -d root" }`.

use std::path::Path;

use serde::Deserialize;

use crate::image::action::{Action, Op};

/// One action, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub(super) enum Written {
    RunCommand(String),
    CopyIn { local_path: String, remote_dir: String },
    SetHostname(String),
    Mkdir(String),
    Upload { file: String, dest: String },
    Chmod { permissions: String, file: String },
    AppendLine { file: String, line: String },
    Link { target: String, link: String },
    InstallKernel(String),
    TarIn { tar_file: String, remote_dir: String },
}

impl Written {
    /// The action; paths of the host start at `base_dir`.
    pub(super) fn action(self, base_dir: &Path) -> Action {
        let on_host = |path: String| base_dir.join(path).to_string_lossy().into_owned();
        let op = match self {
            Self::RunCommand(command) => Op::RunCommand { command },
            Self::CopyIn { local_path, remote_dir } => Op::CopyIn { local_path: on_host(local_path), remote_dir },
            Self::SetHostname(hostname) => Op::SetHostname { hostname },
            Self::Mkdir(dir) => Op::Mkdir { dir },
            Self::Upload { file, dest } => Op::Upload { file: on_host(file), dest },
            Self::Chmod { permissions, file } => Op::Chmod { permissions, file },
            Self::AppendLine { file, line } => Op::AppendLine { file, line },
            Self::Link { target, link } => Op::Link { target, link },
            Self::InstallKernel(dir) => Op::InstallKernel { kernel_install_dir: on_host(dir) },
            Self::TarIn { tar_file, remote_dir } => Op::TarIn { tar_file: on_host(tar_file), remote_dir },
        };
        Action { comment: String::new(), op }
    }
}
