//! A command to run in a guest.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::guest::protocol::{self, TerminalSize};
use crate::guest::wire::{Bytes, Wire};
use crate::host_context::GUEST_ENV;

/// A command to run in a guest, built as [`std::process::Command`] is.
///
/// It begins with root's environment in the guest (`PATH`, `HOME`, `USER`, `LOGNAME`) and in the directory `/`; its
/// standard input is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command(pub(crate) protocol::Command);

impl Command {
    /// Runs `program`, which is looked up in the command's own `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let argv = vec![bytes(program)];
        let env = GUEST_ENV.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
        Self(protocol::Command { argv, env, cwd: bytes("/"), ..protocol::Command::default() })
    }

    /// Runs another program, without arguments yet, in the same way.
    pub fn replace_program(&mut self, program: impl AsRef<OsStr>) -> &mut Self {
        self.0.argv = vec![bytes(program)];
        self
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.0.argv.push(bytes(arg));
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.0.argv.extend(args.into_iter().map(bytes));
        self
    }

    /// Sets a variable.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        let name = bytes(name);
        self.0.env.retain(|(known, _)| *known != name);
        self.0.env.push((name, bytes(value)));
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
        self.0.env.clear();
        self
    }

    /// Runs it in the directory `dir` of the guest.
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        self.0.cwd = bytes(dir.as_ref());
        self
    }

    /// Lets its standard input be fed (see [`Process::stdin`](super::process::Process::stdin)).
    pub fn stdin_piped(&mut self) -> &mut Self {
        self.0.stdin = true;
        self
    }

    /// Sends standard error into the pipe of standard output, so that their order is kept.
    pub fn merge_stderr(&mut self) -> &mut Self {
        self.0.merged = true;
        self
    }

    /// Gives it a pipe of its own at the descriptor [`REPORT_FD`](crate::guest::protocol::REPORT_FD); what it writes there comes
    /// as [`Stream::Report`](super::process::Stream::Report).
    pub fn report(&mut self) -> &mut Self {
        self.0.report = true;
        self
    }

    /// Has it leave a core if a signal kills it, in place of those of earlier commands (see
    /// [`Vm::fetch_cores`](crate::vm::Vm::fetch_cores)).
    pub fn core(&mut self) -> &mut Self {
        self.0.core = true;
        self
    }

    /// Has the guest tell at its end what of the machine is not as it was before the first command that asked for this (see
    /// [`ProcessEvent::Changed`](super::process::ProcessEvent::Changed)).
    pub fn changes(&mut self) -> &mut Self {
        self.0.changes = true;
        self
    }

    /// Lets what it started go on when it has ended.
    pub fn lasts(&mut self) -> &mut Self {
        self.0.lasts = true;
        self
    }

    /// Makes a terminal of this size its standard input, output and error.
    pub fn terminal(&mut self, size: TerminalSize) -> &mut Self {
        self.0.terminal = Some(size);
        self
    }

    /// The program as it was named.
    pub fn get_program(&self) -> &OsStr {
        self.0.argv.first().map_or(OsStr::new(""), |program| OsStr::from_bytes(&program.0))
    }
}

impl Wire for Command {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(input: &mut &[u8]) -> io::Result<Self> {
        protocol::Command::take(input).map(Self)
    }
}

fn bytes(text: impl AsRef<OsStr>) -> Bytes {
    Bytes(text.as_ref().as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_set_once() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]).env("PATH", "/bin").current_dir("/tmp").stdin_piped().merge_stderr();
        command.report().core().changes().lasts().terminal(TerminalSize { rows: 24, columns: 80 });
        assert_eq!(command.0.env.iter().filter(|(name, _)| name.0 == b"PATH").count(), 1);
        assert_eq!(command.get_program(), "sh");
        assert!(Command::new("x").env_clear().0.env.is_empty());
        let mut travelled = Vec::new();
        command.put(&mut travelled);
        assert_eq!(Command::take(&mut &travelled[..]).unwrap(), command);
    }
}
