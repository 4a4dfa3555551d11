//! Actions as they stand in `images.json`.

use super::{Action, Op};
use crate::json::Value;
use crate::json::go::{expect_object, rename, text_of};

const ACTION: &[&str] = &["comment", "op", "type"];
/// The keys of all kinds of `op`.
const OP: &[&str] = &[
    "Cmd",
    "LocalPath",
    "RemoteDir",
    "Hostname",
    "Dir",
    "File",
    "Dest",
    "Permissions",
    "Line",
    "Target",
    "Link",
    "KernelInstallDir",
    "TarFile",
];
const TYPES: &str =
    "run-command, copy-in, set-hostname, mkdir, upload, chmod, append-line, link, install-kernel, tar-in";

/// Gives the keys their proper case.
pub(crate) fn tidy(action: &mut Value) {
    rename(action, ACTION);
    if let Some(op) = action.get_mut("op") {
        rename(op, OP);
    }
}

/// Reads a tidy action; the error is a sentence.
pub(crate) fn from_json(value: &Value, place: &str) -> Result<Action, String> {
    expect_object(value, &format!("`{place}`"))?;
    let kind = text_of(value, "type", place)?;
    let Some(op) = value.get("op") else { return Err(format!("`{place}` has no `op`")) };
    let op_place = format!("{place}.op");
    expect_object(op, &format!("`{op_place}`"))?;
    let text = |key: &str| text_of(op, key, &op_place);
    let op = match kind.as_str() {
        "run-command" => Op::RunCommand { command: text("Cmd")? },
        "copy-in" => Op::CopyIn { local_path: text("LocalPath")?, remote_dir: text("RemoteDir")? },
        "set-hostname" => Op::SetHostname { hostname: text("Hostname")? },
        "mkdir" => Op::Mkdir { dir: text("Dir")? },
        "upload" => Op::Upload { file: text("File")?, dest: text("Dest")? },
        "chmod" => Op::Chmod { permissions: text("Permissions")?, file: text("File")? },
        "append-line" => Op::AppendLine { file: text("File")?, line: text("Line")? },
        "link" => Op::Link { target: text("Target")?, link: text("Link")? },
        "install-kernel" => Op::InstallKernel { kernel_install_dir: text("KernelInstallDir")? },
        "tar-in" => Op::TarIn { tar_file: text("TarFile")?, remote_dir: text("RemoteDir")? },
        other => return Err(format!("`{place}.type`: unknown op type '{other}' (known: {TYPES})")),
    };
    Ok(Action { comment: text_of(value, "comment", place)?, op })
}

/// An action as Go writes it.
pub(crate) fn to_json(action: &Action) -> Value {
    let op = Value::object(fields(&action.op).into_iter().map(|(key, text)| (key, Value::text(text))));
    let members = [("comment", Value::text(&action.comment)), ("op", op), ("type", Value::text(action.op.name()))];
    Value::object(members)
}

fn fields(op: &Op) -> Vec<(&'static str, &str)> {
    match op {
        Op::RunCommand { command } => vec![("Cmd", command)],
        Op::CopyIn { local_path, remote_dir } => vec![("LocalPath", local_path), ("RemoteDir", remote_dir)],
        Op::SetHostname { hostname } => vec![("Hostname", hostname)],
        Op::Mkdir { dir } => vec![("Dir", dir)],
        Op::Upload { file, dest } => vec![("File", file), ("Dest", dest)],
        Op::Chmod { permissions, file } => vec![("Permissions", permissions), ("File", file)],
        Op::AppendLine { file, line } => vec![("File", file), ("Line", line)],
        Op::Link { target, link } => vec![("Target", target), ("Link", link)],
        Op::InstallKernel { kernel_install_dir } => vec![("KernelInstallDir", kernel_install_dir)],
        Op::TarIn { tar_file, remote_dir } => vec![("TarFile", tar_file), ("RemoteDir", remote_dir)],
    }
}
