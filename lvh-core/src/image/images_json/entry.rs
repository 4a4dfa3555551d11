use crate::image::action::{self, Action};
use crate::json::Value;

/// One image of `images.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageEntry {
    /// Its name, and that of its file in `images/` of the data directory. What ends in `.qcow2` is qcow2, all else raw.
    pub name: String,
    /// The image that it is made from. Default: empty, for one that is made from nothing.
    pub parent: String,
    /// How large its disk is, such as `8G`. Default: empty, for 8 GiB, or for the parent's size.
    pub image_size: String,
    /// Whether it brings a kernel. Default: it does on x86-64.
    pub bootable: Option<bool>,
    /// Packages that are installed. Default: none.
    pub packages: Vec<String>,
    /// What is done then, in this order. Default: nothing.
    pub actions: Vec<Action>,
    /// How much is installed beside `packages`, as mmdebstrap calls it. Default: empty, for `debootstrap`. The Go tool does not know
    /// this key, and ignores it.
    pub variant: String,
}

impl ImageEntry {
    /// What the file format is, by the name.
    pub fn is_qcow2(&self) -> bool {
        is_qcow2(&self.name)
    }

    pub(super) fn to_value(&self) -> Value {
        let mut members = vec![("name", Value::text(&self.name))];
        // Go leaves what is empty out, but for the packages.
        let texts = [("parent", &self.parent), ("image_size", &self.image_size)];
        members
            .extend(texts.into_iter().filter(|(_, text)| !text.is_empty()).map(|(key, text)| (key, Value::text(text))));
        members.extend(self.bootable.map(|bootable| ("bootable", Value::Bool(bootable))));
        members.push(("packages", Value::texts(&self.packages)));
        if !self.actions.is_empty() {
            members.push(("actions", Value::Array(self.actions.iter().map(action::to_json).collect())));
        }
        if !self.variant.is_empty() {
            members.push(("variant", Value::text(&self.variant)));
        }
        Value::object(members)
    }
}

/// Whether the image called `name` is a qcow2 file; all others are raw.
pub(crate) fn is_qcow2(name: &str) -> bool {
    name.ends_with(".qcow2")
}
