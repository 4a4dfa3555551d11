//! Commands in an image's tree.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::place::{Job, Place};
use crate::image::build::log::Log;
use crate::image::build::places;
use crate::image::build::request::Stop;
use crate::process::Tool;
use crate::{Error, Result};

const CHROOT: &str = include_str!("chroot.sh");
const CLOCK: &str = include_str!("clock.pl");
const INSIDE: &str = include_str!("inside.sh");
/// As virt-customize: the host's proxies count in an image too.
const PROXIES: &[&str] = &["http_proxy", "https_proxy", "ftp_proxy", "no_proxy"];
/// The part of a work's directory that may be elsewhere.
pub(crate) const SPACE: &str = "space";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The tree of an image that is being made.
#[derive(Debug)]
pub(crate) struct Chroot<'c> {
    pub(crate) place: &'c Place<'c>,
    /// The directory for it; the tree is in `space/tree`.
    pub(crate) work: &'c Path,
    pub(crate) log: &'c Log,
    pub(crate) stop: &'c Stop,
    /// `SOURCE_DATE_EPOCH` of what runs in it.
    pub(crate) time: &'c str,
}

impl Chroot<'_> {
    /// The directory that `place` has for it: in a VM, one of a disk of the VM's.
    pub(crate) fn space(&self) -> PathBuf {
        self.work.join(SPACE)
    }

    /// Where the tree is.
    pub(crate) fn tree(&self) -> PathBuf {
        self.space().join("tree")
    }

    /// Runs a command of the image; what it says is logged below `step`.
    pub(crate) fn run(&self, step: &str, words: &[&str]) -> Result<()> {
        self.in_image(words, &|job| self.logged(step, job))
    }

    /// As [`Chroot::run`], with something to read.
    pub(crate) fn feed(&self, step: &str, words: &[&str], input: File) -> Result<()> {
        let input = std::cell::Cell::new(Some(input));
        self.in_image(words, &|job| self.logged(step, Job { input: input.take(), ..job }))
    }

    /// Runs a shell script in the image, with arguments.
    pub(crate) fn script(&self, step: &str, script: &str, args: &[&str]) -> Result<()> {
        self.run(step, &[&["/bin/sh", "-c", script, "sh"], args].concat())
    }

    /// What a shell script in the image prints.
    pub(crate) fn output(&self, script: &str, args: &[&str]) -> Result<String> {
        let words = [&["/bin/sh", "-c", script, "sh"], args].concat();
        self.in_image(&words, &|job| self.place.run(job, self.stop))
    }

    /// Writes `bytes` by a script that reads them.
    pub(crate) fn write(&self, step: &str, script: &str, args: &[&str], bytes: &[u8]) -> Result<()> {
        let path = self.work.join("input");
        let write = || {
            fs::write(&path, bytes)?;
            File::open(&path)
        };
        let input = write().map_err(|error| Error::path("write", &path, error))?;
        self.feed(step, &[&["/bin/sh", "-c", script, "sh"], args].concat(), input)
    }

    /// Runs a program of the host beside the tree.
    pub(crate) fn beside(&self, step: &str, words: &[&str]) -> Result<()> {
        self.logged(step, Job { called: step, ..Job::of_host(words) })
    }

    /// Runs a program on the host, whoever makes the image.
    pub(crate) fn on_host(&self, step: &str, tool: Tool) -> Result<()> {
        let tool = tool.called(step).stop_on(self.stop.flag()).log(self.log.writer(step)?);
        self.explained(tool.run())
    }

    /// Brings the file `name` of the space to the host, which may have it there already.
    pub(crate) fn fetch(&self, name: &str) -> Result<PathBuf> {
        let space = self.space();
        self.place.fetch(&space, name, self.stop)?;
        Ok(space.join(name))
    }

    fn logged(&self, step: &str, job: Job<'_>) -> Result<()> {
        let log = Some(self.log.writer(step)?);
        self.explained(self.place.run(Job { log, ..job }, self.stop))
    }

    /// With the end of the log, where it failed.
    fn explained(&self, result: Result<String>) -> Result<()> {
        let failed = |error: Error| self.stop.check().err().unwrap_or_else(|| error.with_output(self.log.tail()));
        result.map(drop).map_err(failed)
    }

    /// Has `run` run a command in the image.
    fn in_image<T>(&self, words: &[&str], run: &dyn Fn(Job<'_>) -> Result<T>) -> Result<T> {
        let (tree, time) = (self.tree(), format!("SOURCE_DATE_EPOCH={}", self.time));
        let proxies = proxies();
        let enter = ["sh", "-c", CHROOT, "chroot.sh", places::text(&tree)?, CLOCK, INSIDE];
        let environment = ["env", "-i", PATH, "HOME=/root", &time];
        let proxies = proxies.iter().map(String::as_str);
        let head: Vec<&str> = enter.into_iter().chain(environment).chain(proxies).collect();
        run(Job { called: words[0], is_of_image: true, ..Job::of_host(&[&head, words].concat()) })
    }
}

/// The host's proxies, as `NAME=VALUE`.
pub(crate) fn proxies() -> Vec<String> {
    PROXIES.iter().filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?))).collect()
}
