//! Entering a running VM from another process of the same user.
//!
//! Whoever owns the VM listens on a socket in Linux's abstract namespace: it has no file, so nothing is left of it when
//! its process is gone, however it went. Both ends check that the other is the same user's. What the entering side says
//! is the protocol of guests, as far as it is about one command; it is passed on to the guest.

use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

use crate::error::{Error, ErrorKind, Result};
use crate::guest::client::command::Command;
use crate::guest::client::framing::{receive, send};
use crate::guest::client::guest::{Guest, Pulse};
use crate::guest::client::knock::knock;
use crate::guest::client::process::{Process, ProcessEvent, gone};
use crate::guest::protocol::{MAX_MESSAGE, ToGuest, encode};
use crate::guest::wire::{malformed, wire_struct};
use crate::vm::running::Vm;

/// A login shell, of an image that may lack bash.
const SHELL: [&str; 3] = ["/bin/sh", "-c", "exec \"$(command -v bash || echo /bin/sh)\" -l"];

/// How often one looks whether there is room to wait.
const QUEUE: Duration = Duration::from_millis(100);

/// How often an agent is asked whether it is there.
const PULSE: Duration = Duration::from_secs(5);

/// How long one that is there may take to say so.
const SILENCE: Duration = Duration::from_secs(60);

/// How long an agent may take to say goodbye.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(5);

/// How long the owner of a VM may take to let somebody in, which is some milliseconds.
const OFFER_DEADLINE: Duration = Duration::from_secs(5);

wire_struct! {
    /// What whoever enters is told first.
    pub struct Offer {
        /// What the VM is retained for, such as ``ends::panics on 6.12.117+deb13-amd64``.
        pub title: String,
        /// A shell in the directory and with the environment of that.
        pub shell: Command,
    }
}

/// A place where a VM can be entered; gone when dropped.
#[derive(Debug)]
pub struct Entrance {
    id: String,
    listener: UnixListener,
}

impl Entrance {
    /// Opens one; call it within a tokio runtime.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn open() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let id = format!("{}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let listener = net::UnixListener::bind_addr(&address(&id)?)?;
        listener.set_nonblocking(true)?;
        Ok(Self { id, listener: UnixListener::from_std(listener)? })
    }

    /// What [`enter`] takes.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Lets in whoever comes, any number at a time, until the guest is gone.
    pub async fn serve(self, vm: Arc<Vm>, offer: Offer) {
        let offer = Arc::new(offer);
        loop {
            let stream = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = vm.guest.closed() => return,
            };
            let Ok((stream, _)) = stream else { return };
            let (vm, offer) = (Arc::clone(&vm), Arc::clone(&offer));
            tokio::spawn(async move {
                // Whoever entered and went without a word has nobody to tell.
                let _ = admit(&vm, stream, &offer).await;
            });
        }
    }
}

/// Serves one that enters: tells the offer, takes one command, carries what the two say until either has ended.
async fn admit(vm: &Vm, stream: UnixStream, offer: &Offer) -> io::Result<()> {
    check_peer(&stream)?;
    let (mut reader, mut writer) = stream.into_split();
    send(&mut writer, &encode(offer)).await?;
    let Some(ToGuest::Run { id, command }) = receive(&mut reader, MAX_MESSAGE).await? else {
        return Err(malformed("neither a command nor the end"));
    };
    let mut process = vm.spawn(&Command(command)).await.map_err(io::Error::other)?;
    let requests = process.requests();
    let ended = tokio::select! {
        ended = async {
            // Whoever entered says what was consumed: the window is between the two ends.
            while let Some(event) = process.next_uncredited().await {
                if matches!(event, ProcessEvent::Exited(_)) {
                    // What cannot come home, whoever entered can still look at.
                    let _ = vm.write_back().await;
                }
                if let Some(message) = event.into_message(id) {
                    send(&mut writer, &encode(&message)).await?;
                }
            }
            Ok(())
        } => ended,
        ended = async {
            while let Some(message) = receive(&mut reader, MAX_MESSAGE).await? {
                requests.pass_on(message).await?;
            }
            Ok(())
        } => ended,
    };
    requests.kill()?;
    // Whoever entered may have left before their command ended.
    process.abandoned().await;
    let _ = vm.write_back().await;
    ended
}

/// A VM that can be entered.
#[derive(Debug)]
#[must_use = "one that is not used is left again"]
pub struct Entered {
    /// What its owner offers.
    pub offer: Offer,
    guest: Guest,
    /// It is an agent's, who waits for the next.
    is_agent: bool,
}

impl Entered {
    /// Starts a command: one for each time that one enters.
    ///
    /// # Errors
    /// The owner is gone.
    pub async fn spawn(&self, command: &Command) -> Result<Process> {
        self.guest.run(command.0.clone()).map_err(gone)
    }

    /// Leaves it. Commands of it that still run are killed.
    pub async fn leave(self) {
        if self.is_agent {
            // One that does not answer is told by the next who knocks.
            let _ = tokio::time::timeout(GOODBYE_DEADLINE, self.guest.say_goodbye()).await;
        }
    }
}

/// Enters the VM whose agent ([`Agent`](crate::run::Agent)) is at `socket`, once that answers; what commands start there goes on when
/// they have ended.
///
/// # Errors
/// There is no VM; its agent does not answer `within` that time.
pub async fn connect(socket: &Path, within: Duration) -> Result<Entered> {
    let failed = |error| Error::path("enter the VM at", socket, error);
    let nowhere = |error| failed(error).with_hint("`lvh run --agent SOCKET` starts one that can be entered");
    let met = tokio::time::timeout(within, async {
        let stream = queue(socket).await.map_err(nowhere)?;
        knock(stream).await.map_err(failed)
    });
    let (reader, writer, release) = met.await.map_err(|_elapsed| {
        let message = format!("the agent at `{}` did not answer within {within:?}", socket.display());
        Error::new(ErrorKind::Guest, message).with_hint(
            "the guest may still boot (--wait); its agent is a service of systemd: of any where lvh starts the kernel, else of 256 or newer, whose \
             kernel has CONFIG_DMI_SYSFS; somebody else may be in it",
        )
    })??;
    let mut shell = Command::new(SHELL[0]);
    shell.args(&SHELL[1..]).current_dir("/root").stdin_piped().lasts();
    let guest = Guest::serve(reader, writer, None);
    if let Some(pulse) = guest.pulse() {
        tokio::spawn(watch(pulse));
    }
    let title = format!("`{}` on {release}", socket.display());
    Ok(Entered { offer: Offer { title, shell }, guest, is_agent: true })
}

/// Connects. QEMU takes one after the other, and few may wait.
async fn queue(socket: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(QUEUE).await,
            connected => return connected,
        }
    }
}

/// A line does not tell that nobody is there any more.
async fn watch(pulse: Pulse) {
    while pulse.is_wanted() {
        tokio::time::sleep(PULSE).await;
        if pulse.beats(SILENCE).await == Some(false) {
            return pulse.give_up(format!("its agent did not answer within {SILENCE:?}"));
        }
    }
}

/// Enters the VM called `id`.
///
/// # Errors
/// There is none of that name, or it is another user's.
pub async fn enter(id: &str) -> Result<Entered> {
    let connected = async {
        // The kernel lets us in, whether or not the owner takes notice.
        let stream = net::UnixStream::connect_addr(&address(id)?)?;
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        check_peer(&stream)?;
        let (mut reader, writer) = stream.into_split();
        let offer = tokio::time::timeout(OFFER_DEADLINE, receive(&mut reader, MAX_MESSAGE)).await;
        let silent = |_elapsed| io::Error::new(io::ErrorKind::TimedOut, "its owner does not answer: is it stopped?");
        let offer = offer.map_err(silent)??.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok::<_, io::Error>(Entered { offer, guest: Guest::serve(reader, writer, None), is_agent: false })
    };
    connected.await.map_err(|error| {
        Error::new(ErrorKind::Usage, format!("there is no VM `{id}` to enter")).with_source(error).with_hint(
            "`lvh attach` lists those that there are; LVH_KEEP=1 makes a test run keep its failed tests' VMs",
        )
    })
}

/// The ids of this user's VMs that can be entered, as the kernel lists them.
///
/// # Errors
/// The kernel does not list them.
pub fn list() -> io::Result<Vec<String>> {
    Ok(listed(&fs::read_to_string("/proc/net/unix")?, &prefix()))
}

/// The ids in the content of `/proc/net/unix`: the sockets that listen have the flag `__SO_ACCEPTCON`.
fn listed(sockets: &str, prefix: &str) -> Vec<String> {
    let id = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let listens = fields.nth(3)? == "00010000";
        let id = fields.nth(3)?.strip_prefix('@')?.strip_prefix(prefix)?;
        listens.then(|| id.to_owned())
    };
    let mut ids: Vec<String> = sockets.lines().filter_map(id).collect();
    ids.sort();
    ids
}

fn address(id: &str) -> io::Result<net::SocketAddr> {
    net::SocketAddr::from_abstract_name(format!("{}{id}", prefix()))
}

/// What the names of this user's sockets begin with.
fn prefix() -> String {
    format!("lvh-vm/{}/", user())
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Names in the abstract namespace are anybody's to take: only the kernel's word counts.
fn check_peer(stream: &UnixStream) -> io::Result<()> {
    match stream.peer_cred()?.uid() {
        uid if uid == user() => Ok(()),
        uid => Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("it is the user {uid}'s"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_listen_are_listed() {
        let sockets = "\
Num       RefCount Protocol Flags    Type St Inode Path
ffff8880: 00000002 00000000 00010000 0001 01 20001 @lvh-vm/7/12.2
ffff8881: 00000002 00000000 00010000 0001 01 20002 @lvh-vm/7/12.1
ffff8882: 00000003 00000000 00000000 0001 03 20003 @lvh-vm/7/12.1
ffff8883: 00000002 00000000 00010000 0001 01 20004 @lvh-vm/77/13.1
ffff8884: 00000002 00000000 00010000 0001 01 20005 /run/x.sock
ffff8885: 00000002 00000000 00010000 0001 01 20006
";
        assert_eq!(listed(sockets, "lvh-vm/7/"), ["12.1", "12.2"]);
    }
}
