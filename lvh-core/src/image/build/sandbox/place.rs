//! Where an image is made: a user namespace of this machine, or a VM.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::namespace::Namespace;
use super::vm::BuildVm;
use crate::image::build::request::{Builder, Stop};
use crate::process::Tool;
use crate::{Events, Result};

/// What an image says that takes so long is stuck.
pub(crate) const DEADLINE: Duration = Duration::from_secs(4 * 60 * 60);

/// How images are made here.
#[derive(Debug, Clone)]
pub(crate) enum Method {
    Namespace(Namespace),
    Vm,
}

impl Method {
    /// The one that is asked for, else a namespace where the machine allows it.
    pub(crate) fn choose(asked: Option<Builder>, events: &Events) -> Result<Self> {
        let namespace = || Namespace::new().map(Self::Namespace);
        match asked {
            Some(Builder::Vm) => Ok(Self::Vm),
            Some(Builder::Userns) => namespace(),
            None => namespace().or_else(|error| {
                events.note(format!("images are built in a VM, which takes longer: {error}"));
                Ok(Self::Vm)
            }),
        }
    }
}

/// The place of one image.
#[derive(Debug)]
pub(crate) enum Place<'p> {
    Namespace(&'p Namespace),
    Vm(Box<BuildVm>),
}

/// A program that is run there.
#[derive(Debug)]
pub(crate) struct Job<'j> {
    /// What errors call it.
    pub(crate) called: &'j str,
    pub(crate) words: Vec<&'j str>,
    /// It is one of the image, and may do to a machine of its own what it likes.
    pub(crate) is_of_image: bool,
    /// What it reads.
    pub(crate) input: Option<File>,
    /// Where both of its outputs go instead of to us.
    pub(crate) log: Option<File>,
}

impl<'j> Job<'j> {
    /// A program of the host.
    pub(crate) fn of_host(words: &[&'j str]) -> Self {
        Self { called: words.first().unwrap_or(&""), words: words.to_vec(), is_of_image: false, input: None, log: None }
    }
}

impl Place<'_> {
    /// Runs a program to its end, and gives what it printed.
    pub(crate) fn run(&self, job: Job<'_>, stop: &Stop) -> Result<String> {
        match self {
            Self::Namespace(namespace) => {
                let Job { called, words, input, log, .. } = job;
                let tool = namespace.tool(&words)?.called(called).deadline(DEADLINE).stop_on(stop.flag());
                let tool = input.into_iter().fold(tool, Tool::input);
                log.into_iter().fold(tool, Tool::log).run()
            }
            Self::Vm(vm) => vm.run(job, stop),
        }
    }

    /// Brings the file `name` of the directory `space` to this machine.
    pub(crate) fn fetch(&self, space: &Path, name: &str, stop: &Stop) -> Result<()> {
        match self {
            Self::Namespace(_) => Ok(()),
            Self::Vm(vm) => vm.fetch(space, name, stop),
        }
    }
}
