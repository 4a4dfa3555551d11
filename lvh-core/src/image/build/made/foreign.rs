//! Images that lvh did not make, and others are made from.

use std::fs;

use crate::image::build::places::Places;
use crate::kernel::stamp;
use crate::store::Key;
use crate::{Events, Result};

/// What tells the content of such an image from others': its digest, which is noted beside it until the file changes.
pub(crate) fn content(places: &Places, events: &Events) -> Result<String> {
    let image = places.image();
    let stamp = stamp(&image);
    if !image.is_file() {
        return Ok(stamp);
    }
    if let Some(digest) = noted(places, &stamp) {
        return Ok(digest);
    }
    events.step(format!("image `{}`", places.name), "reading it, for others are made from it");
    let digest = Key::of_file(&image)?.to_string();
    // What cannot be noted is read again.
    let _ = fs::write(places.digest(), format!("{digest} {stamp}"));
    Ok(digest)
}

fn noted(places: &Places, stamp: &str) -> Option<String> {
    let text = fs::read_to_string(places.digest()).ok()?;
    let (digest, of) = text.split_once(' ')?;
    (of == stamp).then(|| Key::parse(digest).map(|key| key.to_string())).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_counts_wherever_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let content = |data: &str, text: &str| {
            let places = Places::new(&dir.path().join(data), "base");
            places.make().unwrap();
            fs::write(places.image(), text).unwrap();
            let contents = [(); 2].map(|()| content(&places, &Events::silent()).unwrap());
            assert_eq!(contents[0], contents[1]);
            contents[0].clone()
        };
        let first = content("a", "one");
        assert_eq!(content("b", "one"), first);
        assert_ne!(content("a", "another"), first);
    }
}
