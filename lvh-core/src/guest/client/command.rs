//! A command to run in a guest.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::guest::protocol::{self, TerminalSize};
use crate::guest::wire::Bytes;
use crate::host_context::GUEST_ENV;

/// A command to run in a guest, built as [`std::process::Command`] is.
///
/// It begins with root's environment in the guest (`PATH`, `HOME`, `USER`, `LOGNAME`) and in the directory `/`; its
/// standard input is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: PathBuf,
    stdin: bool,
    merged: bool,
    report: bool,
    core: bool,
    terminal: Option<TerminalSize>,
}

impl Command {
    /// Runs `program`, which is looked up in the command's own `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            argv: vec![program.as_ref().to_owned()],
            env: GUEST_ENV.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            cwd: "/".into(),
            stdin: false,
            merged: false,
            report: false,
            core: false,
            terminal: None,
        }
    }

    /// Runs another program, without arguments yet, in the same way.
    pub fn replace_program(&mut self, program: impl AsRef<OsStr>) -> &mut Self {
        self.argv = vec![program.as_ref().to_owned()];
        self
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.argv.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.argv.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.env.retain(|(known, _)| known != name.as_ref());
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets variables.
    pub fn envs(&mut self, variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> &mut Self {
        for (name, value) in variables {
            self.env(name, value);
        }
        self
    }

    /// Starts from an empty environment.
    pub fn env_clear(&mut self) -> &mut Self {
        self.env.clear();
        self
    }

    /// Runs it in the directory `dir` of the guest.
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        dir.as_ref().clone_into(&mut self.cwd);
        self
    }

    /// Lets its standard input be fed (see [`Process::stdin`](super::process::Process::stdin)).
    pub fn stdin_piped(&mut self) -> &mut Self {
        self.stdin = true;
        self
    }

    /// Sends standard error into the pipe of standard output, so that their order is kept.
    pub fn merge_stderr(&mut self) -> &mut Self {
        self.merged = true;
        self
    }

    /// Gives it a pipe of its own at the descriptor [`REPORT_FD`](crate::guest::protocol::REPORT_FD); what it writes there comes
    /// as [`Stream::Report`](super::process::Stream::Report).
    pub fn report(&mut self) -> &mut Self {
        self.report = true;
        self
    }

    /// Has it leave a core if a signal kills it, in place of those of earlier commands (see
    /// [`Vm::fetch_cores`](crate::vm::Vm::fetch_cores)).
    pub fn core(&mut self) -> &mut Self {
        self.core = true;
        self
    }

    /// Makes a terminal of this size its standard input, output and error.
    pub fn terminal(&mut self, size: TerminalSize) -> &mut Self {
        self.terminal = Some(size);
        self
    }

    /// The program as it was named.
    pub fn get_program(&self) -> &OsStr {
        self.argv.first().map_or(OsStr::new(""), OsString::as_os_str)
    }

    pub(crate) fn on_the_wire(&self) -> protocol::Command {
        let bytes = |text: &OsString| Bytes(text.as_bytes().to_vec());
        protocol::Command {
            argv: self.argv.iter().map(bytes).collect(),
            env: self.env.iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
            cwd: Bytes(self.cwd.as_os_str().as_bytes().to_vec()),
            stdin: self.stdin,
            merged: self.merged,
            report: self.report,
            terminal: self.terminal,
            core: self.core,
        }
    }

    pub(crate) fn from_the_wire(command: protocol::Command) -> Self {
        let protocol::Command { argv, env, cwd, stdin, merged, report, terminal, core } = command;
        let os = |bytes: Bytes| OsString::from_vec(bytes.0);
        Self {
            argv: argv.into_iter().map(os).collect(),
            env: env.into_iter().map(|(name, value)| (os(name), os(value))).collect(),
            cwd: os(cwd).into(),
            stdin,
            merged,
            report,
            core,
            terminal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_survives_the_wire() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]).env("PATH", "/bin").current_dir("/tmp").stdin_piped().merge_stderr();
        command.report().core().terminal(TerminalSize { rows: 24, columns: 80 });
        let wire = command.on_the_wire();
        assert_eq!(wire.env.iter().filter(|(name, _)| name.0 == b"PATH").count(), 1);
        assert_eq!(Command::from_the_wire(wire), command);
        assert!(Command::new("x").env_clear().on_the_wire().env.is_empty());
    }
}
