use super::{ImageEntry, file};
use crate::image::action::{Action, Op};

/// An `images.json` to begin with: an image of its own, and one on top of it.
pub fn example() -> String {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    let base = ImageEntry {
        name: "base.img".to_owned(),
        packages: texts(&["less", "vim", "sudo", "openssh-server", "curl"]),
        actions: vec![Action {
            comment: "disable password for root".to_owned(),
            op: Op::RunCommand { command: "passwd -d root".to_owned() },
        }],
        ..ImageEntry::default()
    };
    let child = ImageEntry {
        name: "k8s.qcow2".to_owned(),
        parent: base.name.clone(),
        packages: texts(&["docker.io"]),
        ..ImageEntry::default()
    };
    file::text_of(&[base, child])
}
