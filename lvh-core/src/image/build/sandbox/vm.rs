//! A VM in which an image is made: it sees this machine's root, has a disk of its own where the image's tree is, and a network.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use super::chroot::proxies;
use super::namespace::Namespace;
use super::place::{DEADLINE, Job};
use crate::image::build::places::text;
use crate::image::build::request::Stop;
use crate::image::ext4;
use crate::process::{Tool, call_failure, ended};
use crate::vm::{Command, Exit, Process, ProcessEvent, Stdin, Stream, TCG_FACTOR, Vm, VmSpec};
use crate::{Config, Error, ErrorKind, Events, Result, kernel};

/// The kernel that images are made on.
const KERNEL: &str = "6.12";
/// Around programs of an image: enter.sh without its user namespace.
const ALONE: [&str; 10] =
    ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts", "--propagation", "private", "--"];
/// How often who waits looks whether somebody wants an end.
const TICK: Duration = Duration::from_millis(50);
/// The most that goes to a program's input at once.
const CHUNK: usize = 16 << 10;
/// The disk in the directory of the work.
const SCRATCH: &str = "scratch";

/// The VM, and what drives it.
#[derive(Debug)]
pub(crate) struct BuildVm {
    // Before what drives it.
    vm: Vm,
    runtime: tokio::runtime::Runtime,
    scratch: PathBuf,
}

impl BuildVm {
    /// Boots it, with a disk of `bytes` at the directory `space` of `work`, which both are there. It sees `data_dir`.
    pub(crate) fn boot(
        work: &Path,
        space: &Path,
        bytes: u64,
        data_dir: &Path,
        stop: &Stop,
        events: &Events,
    ) -> Result<Self> {
        let scratch = work.join(SCRATCH);
        ext4::make(&scratch, bytes, None)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::io("start a runtime", error))?;
        let booting = until_stopped(stop, booted(scratch.clone(), data_dir, events));
        let vm = runtime.block_on(booting)?;
        let made = Self { vm, runtime, scratch };
        made.run_plainly(Job::of_host(&["mount", "-t", "ext4", "/dev/vda", text(space)?]), stop)?;
        Ok(made)
    }

    /// Runs a program to its end, in namespaces, and gives what it printed.
    pub(crate) fn run(&self, job: Job<'_>, stop: &Stop) -> Result<String> {
        let words = match job.is_of_image {
            true => ALONE.iter().chain(&job.words).map(|&word| word.to_owned()).collect(),
            // As on the host, so that what it makes is the same.
            false => Namespace::whole().words(&job.words),
        };
        self.run_plainly(Job { words: words.iter().map(String::as_str).collect(), ..job }, stop)
    }

    fn run_plainly(&self, job: Job<'_>, stop: &Stop) -> Result<String> {
        let Job { called, words, input, log, .. } = job;
        let work = async {
            let process = self.vm.spawn(&command(&words, log.is_some())).await?;
            let mut running = Running { stdin: process.stdin(), input, log, output: [Vec::new(), Vec::new()], process };
            match running.end().await? {
                Some(exit) => running.result(called, exit),
                None => Err(self.vm.death().await),
            }
        };
        let deadline = DEADLINE * TCG_FACTOR;
        let late = |_| Error::new(ErrorKind::Artifact, format!("`{called}` timed out after {}s", deadline.as_secs()));
        self.runtime.block_on(until_stopped(stop, async { tokio::time::timeout(deadline, work).await.map_err(late)? }))
    }

    /// Brings the file `name` of `space` to the same place on the host, with its holes.
    pub(crate) fn fetch(&self, space: &Path, name: &str, stop: &Stop) -> Result<()> {
        const PACK: &str = r#"cd "$1" && tar --sparse -cf lvh.tar "$2" && rm "$2" && sync"#;
        self.run_plainly(Job::of_host(&["sh", "-c", PACK, "sh", text(space)?, name]), stop)?;
        let archive = self.scratch.with_extension("tar");
        let request = format!("dump /lvh.tar \"{}\"", text(&archive)?);
        Tool::new("debugfs", "e2fsprogs")?.args(["-R", &request]).args([&self.scratch]).stop_on(stop.flag()).run()?;
        let unpack = Tool::new("tar", "tar")?.args(["-xf", text(&archive)?, "-C", text(space)?]);
        unpack.stop_on(stop.flag()).run()?;
        fs::remove_file(&archive).map_err(|error| Error::path("remove", &archive, error))
    }
}

async fn booted(scratch: PathBuf, data_dir: &Path, events: &Events) -> Result<Vm> {
    let here = std::env::current_dir().map_err(|error| Error::io("find the working directory", error))?;
    let config = Config::for_process(&here)?;
    let store = config.store()?;
    let kernel = kernel::resolve(KERNEL, &config.kernel(KERNEL)?, &store, events).await?;
    let spec = VmSpec::new(kernel, &config).network(true).scratch(scratch).visible(vec![data_dir.to_owned()]);
    Vm::boot(&spec, &store, events).await
}

/// `work`, unless somebody wants an end before.
async fn until_stopped<T>(stop: &Stop, work: impl Future<Output = Result<T>>) -> Result<T> {
    let stopped = async {
        loop {
            stop.check()?;
            tokio::time::sleep(TICK).await;
        }
    };
    tokio::select! {
        done = work => done,
        stopped = stopped => stopped,
    }
}

fn command(words: &[&str], is_logged: bool) -> Command {
    let mut command = Command::new(words[0]);
    // Messages are searched for known words, so they must not be translated.
    command.args(&words[1..]).env("LC_ALL", "C").envs(proxies().iter().filter_map(|proxy| proxy.split_once('=')));
    command.stdin_piped();
    if is_logged { command.merge_stderr().to_owned() } else { command }
}

/// A program of the VM that runs.
struct Running {
    process: Process,
    stdin: Stdin,
    input: Option<File>,
    log: Option<File>,
    output: [Vec<u8>; 2],
}

impl Running {
    /// Serves it until it ends; none where the VM did.
    async fn end(&mut self) -> Result<Option<Exit>> {
        if self.input.is_none() {
            self.stdin.send(&[]).await?;
        }
        loop {
            self.feed().await?;
            match self.process.next().await {
                None => return Ok(None),
                Some(ProcessEvent::Exited(exit)) => return Ok(Some(exit)),
                Some(ProcessEvent::Taken(bytes)) => self.stdin.taken(bytes),
                Some(ProcessEvent::Output(stream, bytes)) => self.keep(stream, &bytes)?,
                Some(_) => {}
            }
        }
    }

    /// Gives it as much to read as it has room for.
    async fn feed(&mut self) -> Result<()> {
        while let Some(file) = self.input.as_mut().filter(|_| self.stdin.room() > 0) {
            let mut chunk = vec![0; self.stdin.room().min(CHUNK)];
            let count = file.read(&mut chunk).map_err(|error| Error::io("read what a program is to get", error))?;
            self.stdin.send(&chunk[..count]).await?;
            self.input.take_if(|_| count == 0);
        }
        Ok(())
    }

    fn keep(&mut self, stream: Stream, bytes: &[u8]) -> Result<()> {
        match &mut self.log {
            Some(log) => log.write_all(bytes).map_err(|error| Error::io("write the log", error))?,
            None => self.output[usize::from(stream == Stream::Stderr)].extend(bytes),
        }
        Ok(())
    }

    fn result(self, called: &str, exit: Exit) -> Result<String> {
        let [stdout, stderr] = self.output.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        match exit {
            Exit::Code(0) => Ok(stdout),
            Exit::Code(code) => Err(call_failure(called, &ended(ExitStatus::from_raw(code << 8)), stdout, stderr)),
            Exit::Signal { signal, .. } => {
                Err(call_failure(called, &ended(ExitStatus::from_raw(signal)), stdout, stderr))
            }
            Exit::NotStarted(why) => Err(call_failure(called, &format!("did not start: {why}"), stdout, stderr)),
        }
    }
}
