//! Commands in an image's tree.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use super::log::Log;
use super::namespace::Namespace;
use super::places;
use super::request::Stop;
use crate::process::Tool;
use crate::{Error, Result};

const CHROOT: &str = include_str!("chroot.sh");
const INSIDE: &str = include_str!("inside.sh");
/// As virt-customize: the host's proxies count in an image too.
const PROXIES: &[&str] = &["http_proxy", "https_proxy", "ftp_proxy", "no_proxy"];
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What an image says that takes so long is stuck.
const DEADLINE: Duration = Duration::from_secs(4 * 60 * 60);

/// The tree of an image that is being made.
#[derive(Debug)]
pub(super) struct Chroot<'c> {
    pub(super) namespace: &'c Namespace,
    /// Where it is made; the tree is in `tree`.
    pub(super) work: &'c Path,
    pub(super) log: &'c Log,
    pub(super) stop: &'c Stop,
    /// `SOURCE_DATE_EPOCH` of what runs in it.
    pub(super) time: &'c str,
}

impl Chroot<'_> {
    /// Runs a command of the image; what it says is logged below `step`.
    pub(super) fn run(&self, step: &str, words: &[&str]) -> Result<()> {
        self.logged(step, self.tool(words)?)
    }

    /// As [`Chroot::run`], with something to read.
    pub(super) fn feed(&self, step: &str, words: &[&str], input: File) -> Result<()> {
        self.logged(step, self.tool(words)?.input(input))
    }

    /// Runs a shell script in the image, with arguments.
    pub(super) fn script(&self, step: &str, script: &str, args: &[&str]) -> Result<()> {
        self.run(step, &[&["/bin/sh", "-c", script, "sh"], args].concat())
    }

    /// What a shell script in the image prints.
    pub(super) fn output(&self, script: &str, args: &[&str]) -> Result<String> {
        self.tool(&[&["/bin/sh", "-c", script, "sh"], args].concat())?.stop_on(self.stop.flag()).run()
    }

    /// Writes `bytes` by a script that reads them.
    pub(super) fn write(&self, step: &str, script: &str, args: &[&str], bytes: &[u8]) -> Result<()> {
        let path = self.work.join("input");
        let write = || {
            fs::write(&path, bytes)?;
            File::open(&path)
        };
        let input = write().map_err(|error| Error::path("write", &path, error))?;
        self.feed(step, &[&["/bin/sh", "-c", script, "sh"], args].concat(), input)
    }

    /// Runs a program of the host in a namespace, beside the tree.
    pub(super) fn beside(&self, step: &str, words: &[&str]) -> Result<()> {
        self.logged(step, self.namespace.tool(words)?.called(step))
    }

    fn logged(&self, step: &str, tool: Tool) -> Result<()> {
        let tool = tool.deadline(DEADLINE).stop_on(self.stop.flag()).log(self.log.writer(step)?);
        tool.run()
            .map(drop)
            .map_err(|error| self.stop.check().err().unwrap_or_else(|| error.with_output(self.log.tail())))
    }

    fn tool(&self, words: &[&str]) -> Result<Tool> {
        let tree = self.work.join("tree");
        let time = format!("SOURCE_DATE_EPOCH={}", self.time);
        let mut env = vec!["env".to_owned(), "-i".to_owned(), PATH.to_owned(), "HOME=/root".to_owned(), time];
        let proxies = PROXIES.iter().filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?)));
        env.extend(proxies);
        let head = ["sh", "-c", CHROOT, "chroot.sh", places::text(&tree)?, INSIDE];
        let env: Vec<&str> = env.iter().map(String::as_str).collect();
        Ok(self.namespace.tool(&[&head, &env[..], words].concat())?.called(words[0]))
    }
}
