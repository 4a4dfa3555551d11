//! The host's side of the protocol: what it asks of a guest.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::kernel_log::{self, KernelRecord};
use super::log_file::LogFile;
use super::protocol::{
    self, Command, Exit, MAGIC, MAX_ANSWER, MAX_WRITE, STDIN_WINDOW, Setup, Stream, TerminalSize, ToGuest, ToHost,
    VERSION,
};
use super::wire::{Bytes, malformed};
use crate::kernel::KernelRelease;

/// How many messages may wait for a slow consumer; then the guest waits. With [`MAX_ANSWER`] this bounds our memory,
/// whatever it sends.
const QUEUE: usize = 64;

/// How long a guest that is sending files may say nothing: a serial line carries a part in a fifth of a second.
const SILENCE: Duration = Duration::from_secs(60);

/// How much may stand before the first message on a serial line, in bytes.
const PREAMBLE_LIMIT: usize = 64 << 10;

/// What happens to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// It runs.
    Started,
    /// It wrote something.
    Output(Stream, Vec<u8>),
    /// The kernel said something while it ran.
    Kernel(KernelRecord),
    /// It read this much of its standard input.
    Taken(u32),
    /// It ended; nothing more will come.
    Exited(Exit),
}

/// A guest whose rootfs is built.
#[derive(Debug)]
pub struct Guest {
    requests: mpsc::Sender<Vec<u8>>,
    routes: Arc<Routes>,
    next_id: AtomicU32,
    closed: watch::Receiver<Option<Closed>>,
}

/// What a guest could not build of its rootfs, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(String);

/// How the channel ended.
#[derive(Debug, Clone)]
struct Closed {
    why: String,
    /// Not between two messages, or with what is none.
    broke: bool,
}

/// A guest that has said hello.
#[derive(Debug)]
pub struct Greeted {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    /// `uname -r`.
    pub release: KernelRelease,
}

impl Happening {
    /// The message that tells it of the command `id`; the kernel's words are no single command's.
    pub(crate) fn into_message(self, id: u32) -> Option<ToHost> {
        match self {
            Self::Started => Some(ToHost::Started { id }),
            Self::Output(stream, data) => Some(ToHost::Output { id, stream, data: Bytes(data) }),
            Self::Taken(bytes) => Some(ToHost::Taken { id, bytes }),
            Self::Exited(exit) => Some(ToHost::Exited { id, exit }),
            Self::Kernel(_) => None,
        }
    }
}

/// Who gets what the guest sends.
#[derive(Debug, Default)]
struct Routes {
    commands: Mutex<HashMap<u32, mpsc::Sender<Happening>>>,
    collecting: Mutex<Option<mpsc::Sender<ToHost>>>,
    bye: Mutex<Option<oneshot::Sender<()>>>,
    kernel_log: Mutex<Option<LogFile>>,
}

impl Routes {
    /// Writes `records` to the VM's log, as `dmesg` shows them.
    fn log(&self, records: &[KernelRecord]) {
        if let Some(log) = lock(&self.kernel_log).as_mut() {
            let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
            log.append(lines.as_bytes());
        }
    }
}

impl Greeted {
    /// Waits for the guest's hello.
    ///
    /// # Errors
    /// Those of the channel; another protocol version.
    pub async fn meet(stream: UnixStream) -> io::Result<Self> {
        let (mut reader, writer) = stream.into_split();
        skip_preamble(&mut reader).await?;
        match receive(&mut reader, MAX_ANSWER).await? {
            Some(ToHost::Hello { version: VERSION, release }) => {
                Ok(Self { reader, writer, release: KernelRelease::new(release) })
            }
            Some(ToHost::Hello { version, .. }) => {
                Err(io::Error::other(format!("lvh-init speaks version {version}, this program {VERSION}")))
            }
            _ => Err(malformed("the guest did not begin with Hello")),
        }
    }

    /// A guest that said hello before its snapshot was taken, and waits since.
    pub(crate) fn resumed(stream: UnixStream, release: KernelRelease) -> Self {
        let (reader, writer) = stream.into_split();
        Self { reader, writer, release }
    }

    /// A guest that somebody else has set up, and who passes on what we say.
    pub(crate) fn of_relay(reader: OwnedReadHalf, writer: OwnedWriteHalf) -> Guest {
        Guest::serve(reader, writer, Routes::default())
    }

    /// Has the guest build its rootfs; also gives what optional parts it could not have. All that its kernel says, from
    /// its first line on, goes to `kernel_log`.
    ///
    /// # Errors
    /// Those of the channel; what the guest could not build.
    pub async fn set_up(mut self, setup: Setup, kernel_log: Option<LogFile>) -> io::Result<(Guest, Vec<String>)> {
        let routes = Routes { kernel_log: Mutex::new(kernel_log), ..Routes::default() };
        send(&mut self.writer, &protocol::encode(&ToGuest::Setup { setup })).await?;
        loop {
            match receive(&mut self.reader, MAX_ANSWER).await? {
                Some(ToHost::Kernel { records }) => routes.log(&kernel_log::parse(&records.0)),
                Some(ToHost::Ready { warnings }) => {
                    return Ok((Guest::serve(self.reader, self.writer, routes), warnings));
                }
                Some(ToHost::Failed { message }) => return Err(io::Error::other(Refused(message))),
                Some(_) => return Err(malformed("neither Ready nor Failed after Setup")),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}

impl Guest {
    fn serve(reader: OwnedReadHalf, mut writer: OwnedWriteHalf, routes: Routes) -> Self {
        let (requests, mut queue) = mpsc::channel::<Vec<u8>>(QUEUE);
        let (closing, closed) = watch::channel(None);
        let routes = Arc::new(routes);
        tokio::spawn(dispatch(reader, routes.clone(), closing));
        tokio::spawn(async move {
            while let Some(bytes) = queue.recv().await {
                // The reading side learns of a broken channel too, and tells.
                if send(&mut writer, &bytes).await.is_err() {
                    return;
                }
            }
        });
        Self { requests, routes, next_id: AtomicU32::new(1), closed }
    }

    /// Starts a command.
    ///
    /// # Errors
    /// The channel is closed.
    pub async fn run(&self, command: Command) -> io::Result<Process> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, happenings) = mpsc::channel(QUEUE);
        lock(&self.routes.commands).insert(id, sender);
        self.request(&ToGuest::Run { id, command }).await?;
        Ok(Process { id, happenings, requests: self.requests.clone() })
    }

    /// Copies what is new in the guest below `dir`: every file goes to `sink` part by part.
    ///
    /// # Errors
    /// The channel is closed, the guest falls silent; those of `sink`.
    pub async fn collect(&self, dir: &[u8], mut sink: impl FnMut(ToHost) -> io::Result<()>) -> io::Result<()> {
        let (sender, mut parts) = mpsc::channel(QUEUE);
        *lock(&self.routes.collecting) = Some(sender);
        self.request(&ToGuest::Collect { dir: Bytes(dir.to_vec()) }).await?;
        loop {
            match timeout(SILENCE, parts.recv()).await? {
                Some(ToHost::Collected { .. }) => return Ok(()),
                Some(part) => sink(part)?,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Has the guest kill its commands and write everything back; the VM can be ended after.
    ///
    /// # Errors
    /// The channel is closed.
    pub async fn say_goodbye(&self) -> io::Result<()> {
        let (sender, bye) = oneshot::channel();
        *lock(&self.routes.bye) = Some(sender);
        self.request(&ToGuest::Shutdown {}).await?;
        bye.await.map_err(|_closed| io::ErrorKind::UnexpectedEof.into())
    }

    /// Waits until the channel is closed; says why.
    pub async fn closed(&self) -> String {
        let mut closed = self.closed.clone();
        let closed = closed.wait_for(Option::is_some).await.ok().and_then(|closed| closed.clone());
        closed.map_or_else(|| "closed".to_owned(), |closed| closed.why)
    }

    /// Whether the channel was closed by what no guest in order sends.
    pub fn broke(&self) -> bool {
        self.closed.borrow().as_ref().is_some_and(|closed| closed.broke)
    }

    async fn request(&self, message: &ToGuest) -> io::Result<()> {
        queue(&self.requests, message).await
    }
}

async fn queue(requests: &mpsc::Sender<Vec<u8>>, message: &ToGuest) -> io::Result<()> {
    requests.send(protocol::encode(message)).await.map_err(|_closed| io::ErrorKind::BrokenPipe.into())
}

/// A command in the guest; mirrors [`std::process::Child`].
#[derive(Debug)]
pub struct Process {
    id: u32,
    happenings: mpsc::Receiver<Happening>,
    requests: mpsc::Sender<Vec<u8>>,
}

/// What can be asked of a command while somebody else waits for what happens to it.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    id: u32,
    requests: mpsc::Sender<Vec<u8>>,
}

impl Requests {
    /// Asks what `message` asks, of this command; what is not about a command is dropped.
    pub(crate) async fn pass_on(&self, message: ToGuest) -> io::Result<()> {
        let id = self.id;
        let message = match message {
            ToGuest::Stdin { data, .. } => ToGuest::Stdin { id, data },
            ToGuest::Signal { signal, .. } => ToGuest::Signal { id, signal },
            ToGuest::Resize { size, .. } => ToGuest::Resize { id, size },
            ToGuest::Kill { .. } => ToGuest::Kill { id },
            ToGuest::Setup { .. } | ToGuest::Run { .. } | ToGuest::Collect { .. } | ToGuest::Shutdown {} => {
                return Ok(());
            }
        };
        queue(&self.requests, &message).await
    }

    /// Kills the command; harmless when it has ended.
    pub(crate) async fn kill(&self) -> io::Result<()> {
        queue(&self.requests, &ToGuest::Kill { id: self.id }).await
    }
}

impl Process {
    /// The next thing that happens to it; none when the guest is gone.
    pub async fn next(&mut self) -> Option<Happening> {
        self.happenings.recv().await
    }

    /// What feeds its standard input, with the protocol's window.
    pub fn stdin(&self) -> Stdin {
        Stdin { id: self.id, requests: self.requests.clone(), room: STDIN_WINDOW }
    }

    /// Tells its terminal, where it has one, the size of its window.
    ///
    /// # Errors
    /// The channel is closed.
    pub async fn resize(&self, size: TerminalSize) -> io::Result<()> {
        queue(&self.requests, &ToGuest::Resize { id: self.id, size }).await
    }

    pub(crate) fn requests(&self) -> Requests {
        Requests { id: self.id, requests: self.requests.clone() }
    }

    /// Sends a signal to its process group.
    ///
    /// # Errors
    /// The channel is closed.
    pub async fn signal(&self, signal: i32) -> io::Result<()> {
        queue(&self.requests, &ToGuest::Signal { id: self.id, signal }).await
    }

    /// Kills it and everything it started.
    ///
    /// # Errors
    /// The channel is closed.
    pub async fn kill(&self) -> io::Result<()> {
        queue(&self.requests, &ToGuest::Kill { id: self.id }).await
    }
}

/// Feeds a command's standard input.
#[derive(Debug)]
pub struct Stdin {
    id: u32,
    requests: mpsc::Sender<Vec<u8>>,
    room: u32,
}

impl Stdin {
    /// How many bytes may be sent now.
    pub fn room(&self) -> usize {
        self.room as usize
    }

    /// The command has read `bytes` more (see [`Happening::Taken`]).
    pub fn taken(&mut self, bytes: u32) {
        self.room = self.room.saturating_add(bytes).min(STDIN_WINDOW);
    }

    /// Sends `data`, of at most [`Self::room`] bytes; none: end of file.
    ///
    /// # Errors
    /// The channel is closed.
    pub async fn send(&mut self, data: &[u8]) -> io::Result<()> {
        self.room = self.room.saturating_sub(data.len() as u32);
        queue(&self.requests, &ToGuest::Stdin { id: self.id, data: Bytes(data.to_vec()) }).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands out what the guest sends until the channel closes.
async fn dispatch(mut reader: OwnedReadHalf, routes: Arc<Routes>, closing: watch::Sender<Option<Closed>>) {
    let closed = loop {
        match receive::<ToHost>(&mut reader, MAX_ANSWER).await {
            Ok(Some(message)) => route(&routes, message).await,
            Ok(None) => break Closed { why: "the guest closed the channel".to_owned(), broke: false },
            Err(error) => break Closed { why: format!("the channel broke: {error}"), broke: true },
        }
    };
    // In this order: whoever sees its command end without `Exited` finds the reason.
    closing.send_replace(Some(closed));
    lock(&routes.commands).clear();
    *lock(&routes.collecting) = None;
    *lock(&routes.bye) = None;
}

async fn route(routes: &Routes, message: ToHost) {
    match message {
        ToHost::Started { id } => tell(routes, id, Happening::Started).await,
        ToHost::Output { id, stream, data } => tell(routes, id, Happening::Output(stream, data.0)).await,
        ToHost::Taken { id, bytes } => tell(routes, id, Happening::Taken(bytes)).await,
        ToHost::Exited { id, exit } => {
            tell(routes, id, Happening::Exited(exit)).await;
            lock(&routes.commands).remove(&id);
        }
        ToHost::Kernel { records } => {
            let records = kernel_log::parse(&records.0);
            routes.log(&records);
            tell_all(routes, records).await;
        }
        ToHost::File { .. } | ToHost::Collected { .. } => {
            let collecting = lock(&routes.collecting).clone();
            if let Some(sink) = collecting {
                let _ = sink.send(message).await;
            }
        }
        ToHost::Bye {} => {
            if let Some(bye) = lock(&routes.bye).take() {
                let _ = bye.send(());
            }
        }
        // A guest that says hello twice has nothing to tell us.
        ToHost::Hello { .. } | ToHost::Ready { .. } | ToHost::Failed { .. } => {}
    }
}

/// Every command that runs gets what the kernel said meanwhile.
async fn tell_all(routes: &Routes, records: Vec<KernelRecord>) {
    let commands: Vec<_> = lock(&routes.commands).values().cloned().collect();
    for command in commands {
        for record in &records {
            let _ = command.send(Happening::Kernel(record.clone())).await;
        }
    }
}

/// A command that nobody listens to any more is no error.
async fn tell(routes: &Routes, id: u32, happening: Happening) {
    let command = lock(&routes.commands).get(&id).cloned();
    if let Some(command) = command {
        let _ = command.send(happening).await;
    }
}

/// Writes a message that is [`protocol::encode`]d.
pub(crate) async fn send(writer: &mut OwnedWriteHalf, bytes: &[u8]) -> io::Result<()> {
    for chunk in bytes.chunks(MAX_WRITE) {
        writer.write_all(chunk).await?;
    }
    Ok(())
}

/// Reads one message; none when the other side has closed the channel between two.
pub(crate) async fn receive<T: super::wire::Wire>(reader: &mut OwnedReadHalf, limit: usize) -> io::Result<Option<T>> {
    let mut header = [0; 4];
    if reader.read(&mut header[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut header[1..]).await?;
    let len = protocol::check_length(header, limit)?;
    let mut bytes = Vec::new();
    if reader.take(len as u64).read_to_end(&mut bytes).await? < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    protocol::decode(&bytes).map(Some)
}

/// Reads up to and with [`MAGIC`].
async fn skip_preamble(reader: &mut OwnedReadHalf) -> io::Result<()> {
    let mut last = [0; MAGIC.len()];
    for _ in 0..PREAMBLE_LIMIT {
        last.rotate_left(1);
        last[MAGIC.len() - 1] = reader.read_u8().await?;
        if last == *MAGIC {
            return Ok(());
        }
    }
    Err(malformed("the guest did not begin with the magic number"))
}
