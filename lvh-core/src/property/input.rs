//! Inputs for readers.

use arbtest::arbitrary::{Result, Unstructured};

/// Makes inputs.
pub(crate) struct Inputs {
    samples: Vec<Vec<u8>>,
}

impl Inputs {
    /// Some will be like `samples`.
    pub(crate) fn new(samples: &[&[u8]]) -> Self {
        Self { samples: samples.iter().map(|sample| sample.to_vec()).collect() }
    }

    /// Makes an input and passes it to `read`.
    pub(crate) fn next(&mut self, random: &mut Unstructured<'_>, read: impl FnOnce(&[u8])) -> Result<()> {
        match random.int_in_range(0..=7)? {
            0 => {
                let length = random.int_in_range(0..=random.len())?;
                read(random.bytes(length.min(random.len()))?);
            }
            1 => read(&fields(random)?),
            _ if self.samples.is_empty() => read(&fields(random)?),
            _ => changed(random.choose_index(self.samples.len()).map(|index| &mut self.samples[index])?, random, read)?,
        }
        Ok(())
    }
}

/// What binary formats are made of: tags, lengths, numbers and text.
fn fields(random: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for _ in 0..random.int_in_range(0..=20)? {
        match random.int_in_range(0..=7)? {
            0 | 1 => bytes.push(random.int_in_range(0..=20)?),
            2..=4 => bytes.extend(random.int_in_range(0..=5_u32)?.to_le_bytes()),
            5 => bytes.extend(random.bytes(8)?),
            6 => bytes.extend(u32::MAX.wrapping_sub(random.int_in_range(0..=64)?).to_le_bytes()),
            _ => {
                let length = random.int_in_range(0..=6_usize)?;
                bytes.extend(random.bytes(length)?.iter().map(|byte| byte % 26 + b'a'));
            }
        }
    }
    Ok(bytes)
}

/// Passes on `sample`, cut or with a few bytes changed, and mends it.
fn changed(sample: &mut [u8], random: &mut Unstructured<'_>, read: impl FnOnce(&[u8])) -> Result<()> {
    let mut undo = Vec::new();
    for _ in 0..random.int_in_range(0..=4)? {
        let at = place(sample.len(), random)?;
        let change = change(random)?;
        let end = sample.len().min(at + change.len());
        undo.push((at, sample[at..end].to_vec()));
        sample[at..end].copy_from_slice(&change[..end - at]);
    }
    let length = if random.ratio(1, 8)? { place(sample.len(), random)? } else { sample.len() };
    read(&sample[..length]);
    for (at, bytes) in undo.into_iter().rev() {
        sample[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    Ok(())
}

/// An offset: mostly in the header, sometimes in the tables at the end, or anywhere.
fn place(length: usize, random: &mut Unstructured<'_>) -> Result<usize> {
    let last = length.saturating_sub(1);
    match random.int_in_range(0..=3)? {
        0 | 1 => random.int_in_range(0..=last.min(1024)),
        2 => random.int_in_range(last.saturating_sub(1024)..=last),
        _ => random.int_in_range(0..=last),
    }
}

fn change(random: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    Ok(match random.int_in_range(0..=5)? {
        0 => vec![random.arbitrary()?],
        1 => vec![0xff; random.int_in_range(1..=8)?],
        2 => vec![0; random.int_in_range(1..=8)?],
        3 => random.arbitrary::<u64>()?.to_le_bytes().to_vec(),
        4 => random.int_in_range(0..=300_u32)?.to_le_bytes().to_vec(),
        _ => vec![*random.choose(b"\n =,:;\"-.CONFIGm y")?],
    })
}
