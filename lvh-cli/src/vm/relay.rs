//! Carries a guest command's streams and signals, so that it looks local.

use std::io::{self, Read, Write};
use std::time::Duration;

use lvh_core::machine::start_thread;
use lvh_core::vm::{Exit, Process, ProcessEvent, Stdin, Stream};
use lvh_core::{Error, ErrorKind};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::terminal;

/// What a shell says of a command that could not be started.
const NOT_STARTED: u8 = 127;
/// What timeout(1) says of a command that took too long.
const TIMED_OUT: u8 = 124;
/// What a shell adds to the number of the signal that killed a command.
const SIGNALED: i32 = 128;

/// How long a command that was killed may take to be gone; then its guest hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long we may then take to end its VM and say so.
const GRACE: Duration = Duration::from_secs(5);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code as a shell would tell it; none if the guest died.
    pub(crate) code: Option<u8>,
    /// The user asked for the end.
    pub(crate) interrupted: bool,
    /// It was told to die and did not: nothing more is to be asked of its guest.
    pub(crate) stuck: bool,
}

/// The user's wish that we end, from before the first VM on: a handler that stands only while a command runs would
/// swallow the signals at other times.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    quit: Signal,
    resize: Signal,
}

impl Signals {
    /// Takes the signals from now on. Who asks twice gets the end, whatever we are held up by: an error that nobody reads
    /// from our standard error, too.
    ///
    /// # Errors
    /// There are no more threads, or descriptors.
    pub(crate) fn take() -> lvh_core::Result<Self> {
        start_thread("lvh-signals", || {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(end_us())
        })?;
        Self::listen().map_err(|error| Error::new(ErrorKind::Io, "failed to listen to signals").with_source(error))
    }

    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            resize: signal(SignalKind::window_change())?,
        })
    }

    /// The number of the next one that asks for our end.
    pub(crate) async fn next(&mut self) -> i32 {
        loop {
            if let News::End(signal) = self.news().await {
                return signal;
            }
        }
    }

    /// What next there is to pass on.
    async fn news(&mut self) -> News {
        tokio::select! {
            _ = self.interrupt.recv() => News::End(libc::SIGINT),
            _ = self.terminate.recv() => News::End(libc::SIGTERM),
            _ = self.hang_up.recv() => News::End(libc::SIGHUP),
            _ = self.quit.recv() => News::End(libc::SIGQUIT),
            _ = self.resize.recv() => News::Resized,
        }
    }
}

/// What a signal means.
enum News {
    /// The user wants the command to end.
    End(i32),
    /// The window has another size.
    Resized,
}

/// What a shell says of a command that `signal` killed.
pub(crate) fn code_of_signal(signal: i32) -> u8 {
    u8::try_from(SIGNALED + signal).unwrap_or(u8::MAX)
}

/// Ends this process some time after the second signal; QEMU dies with it.
async fn end_us() -> io::Result<()> {
    let mut signals = Signals::listen()?;
    signals.next().await;
    let signal = signals.next().await;
    tokio::time::sleep(PATIENCE + GRACE).await;
    std::process::exit(i32::from(code_of_signal(signal)))
}

/// Relays until the command ends, for at most `limit`.
///
/// # Errors
/// The threads of the standard streams cannot be started.
pub(crate) async fn run(
    mut process: Process,
    limit: Option<Duration>,
    signals: &mut Signals,
) -> lvh_core::Result<Ended> {
    let mut stdin = Input::open(&process)?;
    let (output, mut refused) = Output::open()?;
    let (mut timed_out, mut interrupted, mut killed) = (false, None, false);
    // Pending where there is no limit.
    let mut deadline = std::pin::pin!(sleep(limit));
    let mut patience = std::pin::pin!(sleep(None));
    let code = loop {
        tokio::select! {
            event = output.next_of(&mut process) => match event {
                Some(ProcessEvent::Exited(_)) if timed_out => break Some(TIMED_OUT),
                Some(ProcessEvent::Exited(exit)) => break Some(code(exit)),
                Some(ProcessEvent::Taken(bytes)) => stdin.feed.taken(bytes),
                Some(event) => output.show(event),
                None => break None,
            },
            // Whoever closed our output wants no more of it, and the command is to hear of it as it would here.
            Some(()) = refused.recv() => ask(process.signal(libc::SIGPIPE)),
            () = stdin.pass_on() => {}
            news = signals.news() => match news {
                News::End(signal) if interrupted.is_none() => {
                    interrupted = Some(signal);
                    ask(process.signal(signal));
                }
                // Who asks twice means it; who asks more often waits no longer.
                News::End(_) if !killed => {
                    killed = true;
                    ask(process.kill());
                    patience.set(sleep(Some(PATIENCE)));
                }
                News::End(_) => {}
                News::Resized => if let Some(size) = terminal::window_size() { ask(process.resize(size)) },
            },
            () = &mut deadline, if !timed_out => {
                (timed_out, killed) = (true, true);
                terminal::error(&format!("lvh: timed out after {:?}\n", limit.unwrap_or_default()));
                ask(process.kill());
                patience.set(sleep(Some(PATIENCE)));
            }
            () = &mut patience => {
                terminal::error(&format!("lvh: the command could not be killed within {PATIENCE:?}; its VM is ended\n"));
                let code = if timed_out { TIMED_OUT } else { interrupted.map_or(u8::MAX, code_of_signal) };
                return Ok(Ended { code: Some(code), interrupted: interrupted.is_some(), stuck: true });
            }
        }
    };
    output.finish(signals).await;
    Ok(Ended { code, interrupted: interrupted.is_some(), stuck: false })
}

/// Waits as long, or for ever.
async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// A guest that is gone takes no requests; that it is gone is the next event, and told there.
fn ask(asked: lvh_core::Result<()>) {
    drop(asked);
}

/// Our standard input on its way to the guest.
struct Input {
    feed: Stdin,
    chunks: mpsc::Receiver<Vec<u8>>,
    /// What is being sent: empty at the end.
    next: Option<Vec<u8>>,
    ended: bool,
}

impl Input {
    fn open(process: &Process) -> lvh_core::Result<Self> {
        let (sender, chunks) = mpsc::channel(1);
        // Blocking reads: a terminal or a pipe of ours may be shared with others, who would see it non-blocking.
        start_thread("lvh-stdin", move || {
            let mut chunk = vec![0; 16 << 10];
            while let Ok(len @ 1..) = std::io::stdin().read(&mut chunk) {
                if sender.blocking_send(chunk[..len].to_vec()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { feed: process.stdin(), chunks, next: None, ended: false })
    }

    /// Sends the next bytes, once there are some and the guest has room; never returns after the end.
    async fn pass_on(&mut self) {
        if self.ended || self.feed.room() < 16 << 10 {
            return std::future::pending().await;
        }
        if self.next.is_none() {
            self.next = Some(self.chunks.recv().await.unwrap_or_default());
        }
        // Whoever waits for this may stop at any time, and come again: nothing may be lost then.
        let Some(chunk) = &self.next else { return };
        // A guest that is gone is seen on the other side.
        let _ = self.feed.send(chunk).await;
        self.ended = chunk.is_empty();
        self.next = None;
    }
}

/// What the command writes, on its way to our standard streams.
struct Output {
    events: mpsc::Sender<ProcessEvent>,
    /// Ends with the thread that writes.
    written: oneshot::Receiver<()>,
}

impl Output {
    /// Also what tells that our streams were closed.
    fn open() -> lvh_core::Result<(Self, mpsc::Receiver<()>)> {
        let ((events, mut next), (refuse, refused)) = (mpsc::channel(1), mpsc::channel(1));
        let (all, written) = oneshot::channel();
        // A reader that takes nothing must not keep us from signals and deadlines.
        start_thread("lvh-stdout", move || {
            while let Some(event) = next.blocking_recv() {
                if write(event).is_err() {
                    // It is asked once for several that follow each other.
                    let _ = refuse.try_send(());
                }
            }
            // Nobody waits where the VM was ended for it.
            let _ = all.send(());
        })?;
        Ok((Self { events, written }, refused))
    }

    /// The next event, once what came before it is on its way.
    async fn next_of(&self, process: &mut Process) -> Option<ProcessEvent> {
        let _room = self.events.reserve().await;
        process.next().await
    }

    fn show(&self, event: ProcessEvent) {
        // There is room: it was waited for.
        let _ = self.events.try_send(event);
    }

    /// Waits until all is written, or the user does not want to.
    async fn finish(self, signals: &mut Signals) {
        let Self { events, written } = self;
        drop(events);
        tokio::select! {
            _ = written => {}
            _ = signals.next() => {}
        }
    }
}

fn write(event: ProcessEvent) -> io::Result<()> {
    match event {
        ProcessEvent::Output(Stream::Stdout, data) => {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(&data).and_then(|()| stdout.flush())
        }
        ProcessEvent::Output(Stream::Stderr, data) => std::io::stderr().write_all(&data),
        _ => Ok(()),
    }
}

fn code(exit: Exit) -> u8 {
    match exit {
        Exit::Code(code) => u8::try_from(code).unwrap_or(u8::MAX),
        Exit::Signal { signal, .. } => code_of_signal(signal),
        Exit::NotStarted(error) => {
            terminal::error(&format!("lvh: the command did not start in the guest: {error}\n"));
            NOT_STARTED
        }
    }
}
