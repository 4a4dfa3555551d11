//! One image that is built.

use std::fs;
use std::path::{Path, PathBuf};

use super::builder::title;
use super::log::Log;
use super::made::product::Product;
use super::made::record::Record;
use super::places::{Places, text};
use super::request::Request;
use super::sandbox::chroot::{Chroot, SPACE};
use super::sandbox::namespace;
use super::sandbox::place::{Method, Place};
use super::sandbox::vm::BuildVm;
use super::steps::{disk, loader, parent, perform, root};
use crate::image::images_json::{ImageEntry, is_qcow2};
use crate::machine::local_time;
use crate::store::{Key, Lock};
use crate::{Error, Event, Events, Result};

/// What installing packages knows as the time, unless `SOURCE_DATE_EPOCH` says another: the first second of 2020.
const TIME: &str = "1577836800";

/// An image, and all that it is made of.
#[derive(Debug)]
pub(super) struct Making<'m> {
    pub(super) image: &'m ImageEntry,
    pub(super) places: &'m Places,
    pub(super) parent: Option<&'m Places>,
    /// Others are made from it.
    pub(super) has_children: bool,
    pub(super) inputs: Key,
    pub(super) data_dir: &'m Path,
    pub(super) request: &'m Request,
    pub(super) events: &'m Events,
    pub(super) method: Method,
}

impl Making<'_> {
    /// Builds it. What is there under its name stays until it is complete; what is left of a failure is kept elsewhere.
    pub(super) fn run(&self) -> Result<()> {
        self.check_tools()?;
        let work = Work::new(self.places.work(), &self.method)?;
        let place = self.place(&work.0)?;
        let log = Log::begin(work.0.join("log"))?;
        let time = std::env::var("SOURCE_DATE_EPOCH").unwrap_or_else(|_| TIME.to_owned());
        let stop = &self.request.stop;
        let chroot = Chroot { place: &place, work: &work.0, log: &log, stop, time: &time };
        let made = self.make(&chroot).and_then(|product| product.publish(self.places));
        made.map_err(|error| match stop.check() {
            Ok(()) => self.keep_failure(full_disk(error, &work.0), &chroot),
            Err(stopped) => stopped,
        })?;
        let result = self.places.image().display().to_string();
        self.events.send(Event::Done { subject: self.subject(), result });
        Ok(())
    }

    fn place(&self, work: &Path) -> Result<Place<'_>> {
        if let Method::Namespace(namespace) = &self.method {
            return Ok(Place::Namespace(namespace));
        }
        // The tree, a disk of it and archives of both; what is not written takes no room.
        let bytes = disk::bytes(self.image, self.parent.map(Places::image).as_deref())?.saturating_mul(4);
        let vm = BuildVm::boot(work, &work.join(SPACE), bytes, self.data_dir, &self.request.stop, self.events)?;
        Ok(Place::Vm(Box::new(vm)))
    }

    fn check_tools(&self) -> Result<()> {
        let programs = [("mke2fs", "e2fsprogs"), ("debugfs", "e2fsprogs"), ("tar", "tar"), ("setpriv", "util-linux")];
        programs.iter().try_for_each(|(program, package)| namespace::need(program, package))?;
        if self.parent.is_none() {
            namespace::need("mmdebstrap", "mmdebstrap")?;
        }
        if loader::is_wanted(self.image, self.parent.map(Places::image).as_deref()) {
            loader::check_tools()?;
        }
        let is_qcow2 = is_qcow2(&self.image.name) || self.parent.is_some_and(|parent| is_qcow2(&parent.name));
        if is_qcow2 { namespace::need("qemu-img", "qemu-utils") } else { Ok(()) }
    }

    /// From nothing or the parent to the disk.
    fn make(&self, chroot: &Chroot<'_>) -> Result<Product> {
        match self.parent {
            None => self.install_packages(chroot)?,
            Some(parent) => self.start_from_parent(parent, chroot)?,
        }
        for (index, action) in self.image.actions.iter().enumerate() {
            let title = title(index, &action.comment, action.op.name());
            self.step(&title);
            let done = perform::perform(action, chroot, self.data_dir, &title);
            perform::clean(chroot);
            done.map_err(|error| not_done(&title, error))?;
        }
        self.step("making its disk");
        let packages = chroot.output(PACKAGES, &[])?;
        chroot.script("removing what was only needed to build", include_str!("steps/settle.sh"), &[])?;
        let parent = self.parent.map(Places::image);
        let disk = disk::make(self.image, parent.as_deref(), &self.inputs, chroot)?;
        let tree = self.has_children.then(|| parent::keep(chroot)).transpose()?;
        let record = Record::new(self.inputs.clone(), packages.lines().map(str::to_owned).collect());
        Ok(Product { disk, tree, record })
    }

    fn install_packages(&self, chroot: &Chroot<'_>) -> Result<()> {
        let Request { suite, mirror, .. } = self.request;
        self.step(&format!("installing packages of `{suite}`"));
        let made = root::bootstrap(self.image, suite, mirror.as_deref(), chroot);
        made.map_err(|error| not_installed(&format!("failed to install packages of the suite `{suite}`"), error))?;
        if loader::is_wanted(self.image, None) { loader::configure(chroot) } else { Ok(()) }
    }

    fn start_from_parent(&self, parent: &Places, chroot: &Chroot<'_>) -> Result<()> {
        self.step(&format!("starting from `{}`", parent.name));
        let lock = Lock::shared(&parent.lock(), &|| self.step(&format!("waiting for who builds `{}`", parent.name)))?;
        let unpacked = parent::unpack(parent, chroot, self.events);
        unpacked.map_err(|error| failed(&format!("failed to start from the image `{}`", parent.name), error))?;
        drop(lock);
        if self.image.packages.is_empty() {
            return Ok(());
        }
        self.step("installing packages");
        let packages: Vec<&str> = self.image.packages.iter().map(String::as_str).collect();
        let installed = chroot.script("apt-get install", include_str!("steps/packages.sh"), &packages);
        installed.map_err(|error| not_installed("failed to install packages", error))?;
        chroot.script("removing what is private", include_str!("steps/private.sh"), &[""])
    }

    /// Keeps log and disk of a failed build, and tells where they are.
    fn keep_failure(&self, error: Error, chroot: &Chroot<'_>) -> Error {
        let date = local_time().unwrap_or_default();
        let dir = self.places.failed(&date);
        let keep = || -> std::io::Result<()> {
            fs::create_dir_all(&dir)?;
            // Where the tree is too incomplete for a disk, there is only the log.
            if let Ok(disk) = disk::make(self.image, self.parent.map(Places::image).as_deref(), &self.inputs, chroot) {
                fs::rename(disk, dir.join(&self.image.name))?;
            }
            fs::rename(chroot.work.join("log"), dir.join("log"))
        };
        match keep() {
            Ok(()) => {
                let hint = error.hint().map(|hint| format!("{hint}; ")).unwrap_or_default();
                let hint = format!("{hint}what was made and said until then is in `{}`", dir.display());
                let kept = error.output().map(str::to_owned);
                let error = Error::new(error.kind(), "building failed").with_source(error);
                kept.into_iter().fold(error, Error::with_output).with_hint(hint)
            }
            Err(_unkept) => error,
        }
    }

    fn step(&self, step: &str) {
        self.events.step(self.subject(), step);
    }

    fn subject(&self) -> String {
        format!("image `{}`", self.image.name)
    }
}

/// Lists the packages of an image that has some.
const PACKAGES: &str = "! command -v dpkg-query > /dev/null || dpkg-query -W -f '${Package} ${Version}\\n'";

/// With apt's reason first.
fn not_installed(what: &str, error: Error) -> Error {
    let said = error.output().unwrap_or_default();
    let is_unsigned = said.contains("NO_PUBKEY");
    let error = match said.lines().find_map(|line| line.strip_prefix("E: ")) {
        Some(why) => failed(&format!("{what}: {why}"), error),
        None => failed(what, error),
    };
    match is_unsigned {
        true => error.with_hint(
            "this machine lacks the keys of the packages' archive; Ubuntu's are ubuntu-archive-keyring.gpg in /usr/share/keyrings, of \
             its package ubuntu-keyring",
        ),
        false => error,
    }
}

/// A shell that does not find a program ends so.
const NOT_FOUND: &str = "ended with exit code 127";

fn not_done(title: &str, error: Error) -> Error {
    let lacks = error.chain().contains(NOT_FOUND);
    let error = failed(&format!("{title} failed"), error);
    match lacks {
        true => error.with_hint("commands run in the image, which has what its `packages` bring"),
        false => error,
    }
}

/// Where the image is made, where that is why it failed.
fn full_disk(error: Error, dir: &Path) -> Error {
    let is_full = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
        .any(|error| error.to_string().contains("No space left on device"));
    match is_full {
        true => error
            .with_hint(format!("the disk of `{}` is full: make room, or build in another directory", dir.display())),
        false => error,
    }
}

fn failed(what: &str, error: Error) -> Error {
    Error::new(error.kind(), what).with_source(error)
}

/// Where an image is made. Its files may have owners that only a namespace knows, so that removes them.
#[derive(Debug)]
struct Work<'n>(PathBuf, &'n Method);

impl<'n> Work<'n> {
    fn new(dir: PathBuf, method: &'n Method) -> Result<Self> {
        let work = Self(dir, method);
        // What a killed process has left.
        work.remove()?;
        let space = work.0.join(SPACE);
        fs::create_dir_all(&space).map_err(|error| Error::path("create", &space, error))?;
        Ok(work)
    }

    fn remove(&self) -> Result<()> {
        match self.1 {
            Method::Namespace(namespace) => namespace.tool(&["rm", "-rf", "--", text(&self.0)?])?.run().map(drop),
            Method::Vm => match fs::remove_dir_all(&self.0) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(Error::path("remove", &self.0, error))
                }
                _ => Ok(()),
            },
        }
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is removed before the next build.
        let _ = self.remove();
    }
}
