//! Images and their parents.

use std::path::{Component, Path};

use super::images_json::ImageEntry;
use crate::{Error, ErrorKind, Result};

/// The images of a configuration, each of which has a parent or is made from nothing.
#[derive(Debug)]
pub(crate) struct Forest<'e> {
    images: &'e [ImageEntry],
    /// Parents within the configuration, by index.
    parents: Vec<Option<usize>>,
}

impl<'e> Forest<'e> {
    /// Sees that each image can have its file, is there once, and has a parent that is to be had: one of these images, or a
    /// file for which `is_file` says so.
    pub(crate) fn new(images: &'e [ImageEntry], is_file: &dyn Fn(&str) -> bool) -> Result<Self> {
        let index_of = |name: &str| images.iter().position(|image| image.name == name);
        for (index, image) in images.iter().enumerate() {
            check_name(&image.name)?;
            if index_of(&image.name) != Some(index) {
                return Err(usage(format!("duplicate image name: {}", image.name)));
            }
            check_parent(image, index_of(&image.parent).is_some(), is_file)?;
        }
        let parents = images.iter().map(|image| index_of(&image.parent).filter(|_| !image.parent.is_empty())).collect();
        let forest = Self { images, parents };
        (0..images.len()).try_for_each(|index| forest.ancestors(index).map(drop))?;
        Ok(forest)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.images.len()
    }

    /// The image of that index.
    pub(crate) fn image(&self, index: usize) -> &'e ImageEntry {
        &self.images[index]
    }

    /// The index of the parent, where that is one of these images.
    pub(crate) fn parent(&self, index: usize) -> Option<usize> {
        self.parents[index]
    }

    /// Those that are to be had where `names` are asked for: they, what they are made from, and with `descendants` what is made
    /// from them. Without names all. Parents come before their children, else the order is the configuration's.
    pub(crate) fn selection(&self, names: &[String], descendants: bool) -> Result<Vec<Selected>> {
        let asked: Result<Vec<usize>> = names.iter().map(|name| self.index_of(name)).collect();
        let asked = asked?;
        let is_asked = |index: &usize| match descendants {
            _ if names.is_empty() => true,
            true => self.line(*index).iter().any(|image| asked.contains(image)),
            false => asked.contains(index),
        };
        let asked: Vec<usize> = (0..self.images.len()).filter(is_asked).collect();
        let mut selection: Vec<Selected> = Vec::new();
        for &index in &asked {
            for image in self.line(index).into_iter().rev() {
                if !selection.iter().any(|selected| selected.index == image) {
                    selection.push(Selected { index: image, asked: asked.contains(&image) });
                }
            }
        }
        Ok(selection)
    }

    fn index_of(&self, name: &str) -> Result<usize> {
        self.images.iter().position(|image| image.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.images.iter().map(|image| image.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            usage(format!("no configuration for image '{name}' (known: {known})"))
        })
    }

    /// The image and its ancestors, the nearest first.
    fn line(&self, index: usize) -> Vec<usize> {
        self.ancestors(index).expect("cycles were refused")
    }

    fn ancestors(&self, index: usize) -> Result<Vec<usize>> {
        let mut line = vec![index];
        while let Some(parent) = self.parents[line[line.len() - 1]] {
            if line.contains(&parent) {
                let circle = line.iter().skip_while(|&&index| index != parent).chain([&parent]);
                let names: Vec<_> = circle.map(|&index| format!("`{}`", self.images[index].name)).collect();
                let name = &self.images[parent].name;
                return Err(usage(format!("cyclic image parent relationship involving \"{name}\""))
                    .with_hint(format!("each has the next one as its `parent`: {}", names.join(", "))));
            }
            line.push(parent);
        }
        Ok(line)
    }
}

/// An image that is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Selected {
    pub(crate) index: usize,
    /// It was asked for, or is made from one that was; else it is only a parent.
    pub(crate) asked: bool,
}

/// Refuses what is no file's name in `images/`.
fn check_name(name: &str) -> Result<()> {
    let refuse = |why: &str| Err(usage(format!("the image name `{name}` {why}")));
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(_)), None) if !name.contains(['/', '\0']) => match name.as_bytes()[0] {
            b'.' => refuse("begins with a dot, as do files that lvh keeps beside images"),
            b'-' => refuse("looks like an option"),
            _ => Ok(()),
        },
        _ => refuse("cannot be the name of a file"),
    }
}

fn check_parent(image: &ImageEntry, configured: bool, is_file: &dyn Fn(&str) -> bool) -> Result<()> {
    if image.parent.is_empty() || configured {
        return Ok(());
    }
    check_name(&image.parent)?;
    match is_file(&image.parent) {
        true => Ok(()),
        false => Err(usage(format!(
            "image `{}`: its parent `{}` is neither configured nor a file in `images/`",
            image.name, image.parent
        ))),
    }
}

fn usage(message: String) -> Error {
    Error::new(ErrorKind::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images, as `child<parent`.
    fn images(text: &str) -> Vec<ImageEntry> {
        let words = text.split(' ').filter(|word| !word.is_empty());
        let split = words.map(|word| word.split_once('<').unwrap_or((word, "")));
        split
            .map(|(name, parent)| ImageEntry {
                name: name.to_owned(),
                parent: parent.to_owned(),
                ..ImageEntry::default()
            })
            .collect()
    }

    #[track_caller]
    fn check(text: &str, asked: &str, expected: &str) {
        let images = images(text);
        let (asked, descendants) = asked.strip_suffix(" alone").map_or((asked, true), |asked| (asked, false));
        let names: Vec<String> = asked.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let selection = || {
            let forest = Forest::new(&images, &|name| name == "file")?;
            let name = |selected: Selected| {
                let name = &images[selected.index].name;
                if selected.asked { name.clone() } else { format!("({name})") }
            };
            Ok::<_, Error>(forest.selection(&names, descendants)?.into_iter().map(name).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(selection().unwrap_or_else(|error| error.report()), expected, "{text} | {asked}");
    }

    #[test]
    fn parents_come_first() {
        check("", "", "");
        check("a b c", "", "a b c");
        check("c<b b<a a", "", "a b c");
        check("b<a d<c a c", "", "a b c d");
        check("a<file b<a", "", "a b");
    }

    #[test]
    fn a_name_brings_children_and_parents() {
        let tree = "a b<a c<a d<b e";
        check(tree, "a", "a b c d");
        check(tree, "b", "(a) b d");
        check(tree, "d", "(a) (b) d");
        check(tree, "e", "e");
        check(tree, "b a", "a b c d");
        check(tree, "d c d", "(a) c (b) d");
        check(tree, "b alone", "(a) b");
        check(tree, "d a alone", "a (b) d");
        check(tree, "x", "no configuration for image 'x' (known: a, b, c, d, e)");
        check("", "x", "no configuration for image 'x' (known: none)");
    }

    #[test]
    fn mistakes_are_found_first() {
        check("a b a", "", "duplicate image name: a");
        let circle = |names: &str| {
            let hint = "each has the next one as its `parent`";
            format!("cyclic image parent relationship involving \"a\"\n\nhint: {hint}: {names}")
        };
        check("a<a", "", &circle("`a`, `a`"));
        check("x a<c b<a c<b", "x", &circle("`a`, `c`, `b`, `a`"));
        check("a b<nofile", "a", "image `b`: its parent `nofile` is neither configured nor a file in `images/`");
        for name in ["a/b", "/", "..", ".", "a/", "../a", "./a"] {
            check(name, "", &format!("the image name `{name}` cannot be the name of a file"));
            check(&format!("a<{name}"), "", &format!("the image name `{name}` cannot be the name of a file"));
        }
        check(".a", "", "the image name `.a` begins with a dot, as do files that lvh keeps beside images");
        check("-a", "", "the image name `-a` looks like an option");
    }

    #[test]
    fn an_image_has_a_name() {
        let error = Forest::new(&[ImageEntry::default()], &|_| false).unwrap_err();
        assert_eq!(error.report(), "the image name `` cannot be the name of a file");
    }
}
