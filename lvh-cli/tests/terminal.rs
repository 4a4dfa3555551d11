//! `lvh` on a terminal: `exec` gives the command one of its own, of the same size, and all the keys; git gets none.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::{fs, ptr, thread};

/// A command on a terminal, and the other end of that.
struct OnTerminal {
    child: Child,
    terminal: File,
    seen: String,
}

impl OnTerminal {
    fn start(arguments: &[&str], rows: u16, columns: u16) -> Self {
        Self::start_command(Command::new(env!("CARGO_BIN_EXE_lvh")), arguments, rows, columns)
    }

    fn start_command(mut command: Command, arguments: &[&str], rows: u16, columns: u16) -> Self {
        let (ours, theirs) = open(rows, columns);
        let end = || theirs.try_clone().unwrap();
        command.args(arguments).env("LVH_VERBOSE", "1").stdin(end()).stdout(end()).stderr(end());
        // SAFETY: plain system calls between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        Self { child: command.spawn().unwrap(), terminal: ours, seen: String::new() }
    }

    /// Reads until the terminal shows `text`, and forgets what stood before its end.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        let mut chunk = [0; 4096];
        while !self.seen.contains(text) {
            // Linux says EIO when the last process on the terminal is gone.
            let len = self.terminal.read(&mut chunk).unwrap_or(0);
            assert_ne!(len, 0, "no `{text}` in {:?}", self.seen);
            self.seen += &String::from_utf8_lossy(&chunk[..len]);
        }
        let (_, rest) = self.seen.split_once(text).unwrap();
        self.seen = rest.to_owned();
    }

    fn type_keys(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }
}

/// Both ends of a new terminal.
fn open(rows: u16, columns: u16) -> (File, OwnedFd) {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let (mut ours, mut theirs) = (-1, -1);
    // SAFETY: two numbers to write to, one size to read; the other pointers may be null.
    let result =
        unsafe { libc::openpty(&raw mut ours, &raw mut theirs, ptr::null_mut(), ptr::null(), &raw const size) };
    assert_eq!(result, 0);
    // A child that has our end too would never see the terminal hang up.
    // SAFETY: a plain system call.
    assert_eq!(unsafe { libc::fcntl(ours, libc::F_SETFD, libc::FD_CLOEXEC) }, 0);
    // SAFETY: two new descriptors that are nobody else's.
    unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}

#[test]
fn the_command_has_a_terminal_of_its_own() {
    let script = r#"tty; stty size; echo $((6*7)); while [ "$(stty size)" = "33 99" ]; do sleep 0.1; done; stty size
                    read line; echo "got $line"; exec sleep 3600"#;
    let mut run = OnTerminal::start(&["exec", "--", "bash", "-c", script], 33, 99);
    // Both streams are the terminal, and it makes two characters of a line end.
    run.wait_for("/dev/pts/0\r\n33 99\r\n42\r\n");
    let size = libc::winsize { ws_row: 22, ws_col: 88, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: one size to read. The kernel tells `lvh`, whose terminal it is.
    unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&run.terminal), libc::TIOCSWINSZ, &raw const size) };
    run.wait_for("22 88\r\n");
    run.type_keys("ab\u{7f}c\r");
    run.wait_for("got ac\r\n");
    // There is no shell that could wake it: Ctrl-Z does nothing.
    run.type_keys("\u{1a}");
    run.type_keys("\u{3}");
    assert_eq!(run.child.wait().unwrap().code(), Some(128 + libc::SIGINT));
}

#[test]
fn a_terminal_that_is_gone_ends_the_command_and_us() {
    let mut run = OnTerminal::start(&["exec", "--", "sh", "-c", "echo here; exec sleep 3600"], 24, 80);
    run.wait_for(" ready in ");
    // From here on the terminal is the command's.
    run.wait_for("here\r\n");
    drop(run.terminal);
    assert_eq!(run.child.wait().unwrap().code(), Some(128 + libc::SIGHUP));
}

#[test]
fn without_a_command_it_is_a_shell() {
    let mut run = OnTerminal::start(&["exec"], 24, 80);
    run.wait_for(" ready in ");
    run.type_keys("echo $((40+2)); exit 7\r");
    run.wait_for("42\r\n");
    assert_eq!(run.child.wait().unwrap().code(), Some(7));
}

/// A server that wants a password, and one whose key nobody knows: git fails, in its own words, where it would ask.
#[test]
fn git_asks_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let web_url = format!("http://{}/linux.git", web.local_addr().unwrap());
    thread::spawn(move || web.incoming().for_each(|stream| refuse(stream.unwrap())));
    let ssh_url = ssh_server(dir.path());
    let fails = |url: &str, words: &str| {
        fs::create_dir_all(dir.path().join("D")).unwrap();
        let json = format!(r#"{{"kernels": [{{"name": "k", "url": "{url}"}}]}}"#);
        fs::write(dir.path().join("D/kernels.json"), json).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lvh"));
        command.current_dir(dir.path()).env("HOME", dir.path()).env_remove("GIT_ASKPASS");
        // What the user chose for git, it keeps.
        command.env("GIT_SSH_COMMAND", "ssh -F none -o UserKnownHostsFile=none -o GlobalKnownHostsFile=none");
        let mut run = OnTerminal::start_command(command, &["kernels", "fetch", "--dir", "D", "k"], 24, 200);
        run.wait_for(words);
        assert_eq!(run.child.wait().unwrap().code(), Some(1));
    };
    fails(&web_url, "could not read Username for 'http://127.0.0.1");
    fails(&ssh_url, "Host key verification failed.");
}

fn refuse(mut stream: TcpStream) {
    let mut request = [0; 4096];
    let _whole = stream.read(&mut request).unwrap();
    let answer =
        "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(answer.as_bytes()).unwrap();
}

/// Where dropbear, with a new key, would have a repository: one for each connection, as inetd does.
fn ssh_server(dir: &Path) -> String {
    let key = dir.join("key");
    let made = Command::new("dropbearkey").args(["-t", "ed25519", "-f"]).arg(&key).stdout(Stdio::null()).status();
    assert!(made.expect("tests/setup installs dropbear").success());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ssh://git@{}/linux.git", listener.local_addr().unwrap());
    let serve = move |stream: TcpStream| {
        let mut server = Command::new("dropbear");
        server.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(["-i", "-r"]).arg(&key).stderr(Stdio::null());
        server.stdin(OwnedFd::from(stream.try_clone().unwrap())).stdout(OwnedFd::from(stream)).status().unwrap();
    };
    thread::spawn(move || listener.incoming().for_each(|stream| serve(stream.unwrap())));
    url
}
