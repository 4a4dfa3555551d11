use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::made::foreign;
use super::made::fresh::{Question, Verdict};
use super::made::key::{self, Base};
use super::made::record::Record;
use super::made::shared::Shared;
use super::make::Making;
use super::places::Places;
use super::request::{Outcome, Request};
use super::sandbox::place::Method;
use super::steps::size;
use crate::image::forest::{Forest, Selected};
use crate::image::images_json::ImageEntry;
use crate::store::{Key, Lock};
use crate::{Error, Events, Result};

/// Builds images of a configuration, as far as they are not there as it says. What is made from an image that could not be had
/// is not in the answer.
///
/// # Errors
/// Before anything is built: where the configuration cannot be, a name is not in it, or an action cannot be done.
pub fn build(images: &[ImageEntry], request: &Request, events: &Events) -> Result<Vec<Outcome>> {
    let data_dir = std::path::absolute(&request.data_dir).map_err(|e| Error::path("find", &request.data_dir, e))?;
    let forest = Forest::new(images, &|name| Places::new(&data_dir, name).image().is_file())?;
    let selection = forest.selection(&request.names, request.descendants)?;
    let method = Mutex::new(None);
    let builder = Builder { forest: &forest, selection: &selection, request, data_dir, events, method };
    builder.check()?;
    Ok(builder.run())
}

#[derive(Debug)]
struct Builder<'b> {
    forest: &'b Forest<'b>,
    selection: &'b [Selected],
    request: &'b Request,
    data_dir: PathBuf,
    events: &'b Events,
    method: Mutex<Option<Method>>,
}

impl Builder<'_> {
    /// Refuses what could not be built in any case. What is there and not lvh's own is not looked at: it stays.
    fn check(&self) -> Result<()> {
        for selected in self.selection {
            let image = self.forest.image(selected.index);
            let is_forced = self.request.force && selected.asked;
            if self.request.dry_run || !is_forced && self.is_foreign(&image.name)? {
                continue;
            }
            if !image.image_size.is_empty() {
                size::parse(&image.image_size).map_err(|error| about(image, None, error))?;
            }
            for (index, action) in image.actions.iter().enumerate() {
                let place = || title(index, &action.comment, action.op.name());
                action.op.check(&self.data_dir).map_err(|error| about(image, Some(place()), error))?;
            }
        }
        Ok(())
    }

    /// Whether the image is there, and was not made by lvh.
    fn is_foreign(&self, name: &str) -> Result<bool> {
        let places = Places::new(&self.data_dir, name);
        let is_there = fs::metadata(places.image()).is_ok_and(|metadata| metadata.len() > 0);
        Ok(is_there && Record::load(&places.record())?.is_none())
    }

    /// Builds each family of images on a thread of its own, as far as there are processors.
    fn run(&self) -> Vec<Outcome> {
        let mut families: Vec<Vec<Selected>> = Vec::new();
        for selected in self.selection {
            let parent = self.forest.parent(selected.index);
            let is_family = |family: &&mut Vec<Selected>| family.iter().any(|member| Some(member.index) == parent);
            match families.iter_mut().find(is_family) {
                Some(family) => family.push(*selected),
                None => families.push(vec![*selected]),
            }
        }
        let queue = Mutex::new(families.into_iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || std::iter::from_fn(next).flat_map(|family| self.family(&family)).collect::<Vec<_>>();
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let mut outcomes = thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            workers.into_iter().flat_map(|worker| worker.join().expect("building does not panic")).collect::<Vec<_>>()
        });
        let position =
            |outcome: &Outcome| self.selection.iter().position(|s| self.forest.image(s.index).name == outcome.name);
        outcomes.sort_by_key(position);
        outcomes
    }

    fn family(&self, family: &[Selected]) -> Vec<Outcome> {
        let mut outcomes: Vec<(usize, Outcome)> = Vec::new();
        for selected in family {
            let image = self.forest.image(selected.index);
            let parent = self.forest.parent(selected.index);
            let parent = parent.and_then(|parent| outcomes.iter().find(|(index, _)| *index == parent));
            let is_lost = parent.is_none() && selected.index != family[0].index;
            if is_lost || parent.is_some_and(|(_, outcome)| outcome.result.is_err()) {
                continue;
            }
            let new_parent = parent.filter(|(_, outcome)| !outcome.cached).map(|(_, outcome)| outcome.name.clone());
            let outcome = match self.image(*selected, new_parent.as_deref()) {
                Ok(Verdict::Stays) => (true, String::new(), Ok(())),
                Ok(Verdict::IsBuilt(deleted)) => (false, deleted, Ok(())),
                Err(error) => (false, String::new(), Err(error)),
            };
            let (cached, deleted, result) = outcome;
            let outcome = Outcome { name: image.name.clone(), cached, deleted, asked: selected.asked, result };
            outcomes.push((selected.index, outcome));
        }
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// Sees that an image is there, while nobody else does.
    fn image(&self, selected: Selected, new_parent: Option<&str>) -> Result<Verdict> {
        self.request.stop.check()?;
        let image = self.forest.image(selected.index);
        let places = Places::new(&self.data_dir, &image.name);
        places.make()?;
        let waiting =
            || self.events.step(format!("image `{}`", image.name), "waiting for another process that builds it");
        let _alone = Lock::exclusive(&places.lock(), &waiting)?;
        let (verdict, inputs) = self.verdict(selected, new_parent)?;
        match &verdict {
            Verdict::Stays => self.offer_again(selected.index, &places, &inputs)?,
            Verdict::IsBuilt(_) if self.request.dry_run => pretend(&places.image())?,
            Verdict::IsBuilt(_) => self.obtain(selected, &places, inputs)?,
        }
        Ok(verdict)
    }

    /// Takes an image from the registry that a team shares, or makes it and lets that have it.
    fn obtain(&self, selected: Selected, places: &Places, inputs: Key) -> Result<()> {
        let shared = self.shared(selected.index, places, &inputs);
        let is_forced = self.request.force && selected.asked;
        if let Some(shared) = shared.as_ref().filter(|_| !is_forced)
            && shared.take()?
        {
            return Ok(());
        }
        self.make(selected.index, places, self.parent(self.forest.image(selected.index)).as_ref(), inputs.clone())?;
        shared.map_or(Ok(()), |shared| shared.offer())
    }

    /// What was made before there was a registry goes there when somebody asks for what is newest.
    fn offer_again(&self, index: usize, places: &Places, inputs: &Key) -> Result<()> {
        let shared = self.shared(index, places, inputs).filter(|_| self.request.offers_again);
        let is_ours = Record::load(&places.record())?.is_some_and(|record| record.inputs == *inputs);
        shared.filter(|_| is_ours).map_or(Ok(()), |shared| shared.offer())
    }

    fn shared<'s>(&'s self, index: usize, places: &'s Places, inputs: &'s Key) -> Option<Shared<'s>> {
        let store = self.request.store.as_ref().filter(|store| store.cache().is_some())?;
        let has_children = self.has_children(index);
        Some(Shared { places, inputs, has_children, store, events: self.events })
    }

    fn has_children(&self, index: usize) -> bool {
        (0..self.forest.len()).any(|child| self.forest.parent(child) == Some(index))
    }

    /// What is to become of an image, and the digest of what it is to be made of.
    fn verdict(&self, selected: Selected, new_parent: Option<&str>) -> Result<(Verdict, Key)> {
        let image = self.forest.image(selected.index);
        let (force, dry_run) = (self.request.force && selected.asked, self.request.dry_run);
        let places = Places::new(&self.data_dir, &image.name);
        // What no record is compared with, and nothing is built of, need not be there.
        let has_record = Record::load(&places.record())?.is_some();
        let is_moot = !has_record && (dry_run || !force && new_parent.is_none() && self.is_foreign(&image.name)?);
        let inputs = if is_moot { Key::of([""; 0]) } else { self.inputs(image, self.parent(image).as_ref())? };
        let lacks_tree = has_record && !dry_run && !places.tree_archive().is_file();
        let lacks_tree = lacks_tree && self.is_needed(selected.index)?;
        let question = Question { places: &places, inputs: &inputs, force, dry_run, new_parent, lacks_tree };
        Ok((question.answer()?, inputs))
    }

    /// Whether one of the images that are wanted is to be built from it, as it is now.
    fn is_needed(&self, parent: usize) -> Result<bool> {
        let children = self.selection.iter().filter(|selected| self.forest.parent(selected.index) == Some(parent));
        for child in children {
            if self.verdict(*child, None)?.0 != Verdict::Stays {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn parent(&self, image: &ImageEntry) -> Option<Places> {
        (!image.parent.is_empty()).then(|| Places::new(&self.data_dir, &image.parent))
    }

    fn make(&self, index: usize, places: &Places, parent: Option<&Places>, inputs: Key) -> Result<()> {
        let making = Making {
            image: self.forest.image(index),
            places,
            parent,
            has_children: self.has_children(index),
            inputs,
            data_dir: &self.data_dir,
            request: self.request,
            events: self.events,
            method: self.method()?,
        };
        making.run()
    }

    /// The digest of all that the image is to be made of.
    fn inputs(&self, image: &ImageEntry, parent: Option<&Places>) -> Result<Key> {
        key::inputs(image, &self.base(parent)?, &self.data_dir)
    }

    /// What the image is made from, as it is now.
    fn base(&self, parent: Option<&Places>) -> Result<Base> {
        let Some(parent) = parent else { return Ok(Base::Suite(self.request.suite.clone())) };
        let record = Record::load(&parent.record())?;
        let content = match record {
            Some(record) => record.content.to_string(),
            None => foreign::content(parent, self.events)?,
        };
        Ok(Base::Image(content))
    }

    /// The same for all; what is chosen is told once.
    fn method(&self) -> Result<Method> {
        let mut method = self.method.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(method) = &*method {
            return Ok(method.clone());
        }
        let chosen = Method::choose(self.request.builder, self.events)?;
        Ok(method.insert(chosen).clone())
    }
}

/// What a dry run makes of an image that is not there.
fn pretend(path: &Path) -> Result<()> {
    let options = File::options().create(true).append(true).open(path);
    options.map(drop).map_err(|error| Error::path("create", path, error))
}

/// What people know an action by.
pub(super) fn title(index: usize, comment: &str, kind: &str) -> String {
    let number = index + 1;
    if comment.is_empty() {
        format!("action {number} ({kind})")
    } else {
        format!("action {number} ({kind}: {comment})")
    }
}

fn about(image: &ImageEntry, place: Option<String>, error: Error) -> Error {
    let place = place.map(|place| format!(": {place}")).unwrap_or_default();
    Error::new(error.kind(), format!("image `{}`{place}", image.name)).with_source(error)
}
