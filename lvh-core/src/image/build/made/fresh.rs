//! Whether the file of an image is what its configuration says.

use std::fs;

use super::record::Record;
use crate::image::build::places::Places;
use crate::store::Key;
use crate::{Error, ErrorKind, Result};

/// What is to become of an image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The file that is there does.
    Stays,
    /// It is built. Why the file that is there does not do; empty where there is none.
    IsBuilt(String),
}

/// What decides it, beside the file.
#[derive(Debug)]
pub(crate) struct Question<'q> {
    pub(crate) places: &'q Places,
    /// The digest of what it is to be made of.
    pub(crate) inputs: &'q Key,
    pub(crate) force: bool,
    pub(crate) dry_run: bool,
    /// The parent, where that was built just now.
    pub(crate) new_parent: Option<&'q str>,
    /// Another is to be made from it, for which its tree was not kept.
    pub(crate) lacks_tree: bool,
}

impl Question<'_> {
    /// Decides it. The reasons are in the words of the Go tool, where it had them.
    pub(crate) fn answer(&self) -> Result<Verdict> {
        let path = self.places.image();
        let metadata = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Verdict::IsBuilt(String::new())),
            found => found.and_then(|_| fs::metadata(&path)).map_err(|error| Error::path("look at", &path, error))?,
        };
        if !metadata.is_file() {
            let message = format!("'{}' is not a regular file. Bailing out.", path.display());
            return Err(Error::new(ErrorKind::Usage, message));
        }
        Ok(self.reason(metadata.len() == 0)?.map_or(Verdict::Stays, Verdict::IsBuilt))
    }

    fn reason(&self, is_empty: bool) -> Result<Option<String>> {
        let path = self.places.image();
        let image = path.display();
        if self.force {
            return Ok(Some(format!("image '{image}' was deleted because a rebuild was forced")));
        }
        if is_empty && !self.dry_run {
            return Ok(Some(format!("image '{image}' was an empty file, and this was not a dry run")));
        }
        if let Some(parent) = self.new_parent {
            return Ok(Some(format!("image '{image}' existed, but parent '{parent}' did not use the cache")));
        }
        let record = Record::load(&self.places.record())?;
        let fits = record.is_none_or(|record| record.inputs == *self.inputs);
        if !fits {
            return Ok(Some(format!("image '{image}' was made of something else than it is configured to be")));
        }
        let why = || format!("image '{image}' was made without what images need that are made from it");
        Ok(self.lacks_tree.then(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stays_or_says_why_not() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::new(dir.path(), "a");
        places.make().unwrap();
        let here = places.image().display().to_string();
        let (old, new) = (Key::of(["old"]), Key::of(["new"]));
        let ask = |inputs: &Key, force, dry_run, new_parent| {
            let question = Question { places: &places, inputs, force, dry_run, new_parent, lacks_tree: false };
            match question.answer() {
                Ok(Verdict::Stays) => "stays".to_owned(),
                Ok(Verdict::IsBuilt(why)) => format!("built {why}").trim_end().replace(&here, "F"),
                Err(error) => error.report().replace(&here, "F"),
            }
        };
        assert_eq!(ask(&new, true, false, Some("p")), "built");
        fs::write(places.image(), "").unwrap();
        assert_eq!(ask(&new, false, true, None), "stays");
        assert_eq!(ask(&new, false, false, None), "built image 'F' was an empty file, and this was not a dry run");
        fs::write(places.image(), "disk").unwrap();
        assert_eq!(ask(&new, false, false, None), "stays", "one of the Go tool");
        assert_eq!(ask(&new, true, false, Some("p")), "built image 'F' was deleted because a rebuild was forced");
        assert_eq!(ask(&new, false, false, Some("p")), "built image 'F' existed, but parent 'p' did not use the cache");
        Record::new(old.clone(), Vec::new()).save(&places.record()).unwrap();
        assert_eq!(ask(&old, false, false, None), "stays");
        assert_eq!(
            ask(&new, false, false, None),
            "built image 'F' was made of something else than it is configured to be"
        );
        let question = Question {
            places: &places,
            inputs: &old,
            force: false,
            dry_run: false,
            new_parent: None,
            lacks_tree: true,
        };
        let why = "was made without what images need that are made from it";
        assert_eq!(question.answer().unwrap(), Verdict::IsBuilt(format!("image '{here}' {why}")));
        fs::remove_file(places.image()).unwrap();
        fs::create_dir(places.image()).unwrap();
        assert_eq!(ask(&new, true, false, None), "'F' is not a regular file. Bailing out.");
    }
}
