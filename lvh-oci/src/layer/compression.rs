use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// Opens a file that may be gzip or zstd, or neither.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::with_capacity(256 << 10, File::open(path)?);
    Ok(match file.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Box::new(Zstd { frame: None, rest: Some(Box::new(file)) })
        }
        _ => Box::new(file),
    })
}

/// Whether the file begins as one that zstd has made.
pub(crate) fn is_zstd(path: &Path) -> io::Result<bool> {
    let mut magic = [0; 4];
    let read = File::open(path)?.read(&mut magic)?;
    Ok(matches!(magic[..read], [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18]))
}

/// Frame after frame: `zstd:chunked` has several, and some that are to be skipped (RFC 8878, 3.1.2).
struct Zstd {
    frame: Option<StreamingDecoder<Box<dyn BufRead>, FrameDecoder>>,
    rest: Option<Box<dyn BufRead>>,
}

impl Read for Zstd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                match frame.read(buffer)? {
                    0 if !buffer.is_empty() => self.rest = self.frame.take().map(StreamingDecoder::into_inner),
                    n => return Ok(n),
                }
            }
            let Some(rest) = self.rest.take() else { return Ok(0) };
            self.begin(rest)?;
        }
    }
}

impl Zstd {
    fn begin(&mut self, mut rest: Box<dyn BufRead>) -> io::Result<()> {
        if rest.fill_buf()?.is_empty() {
            return Ok(());
        }
        let mut magic = [0; 4];
        rest.read_exact(&mut magic)?;
        if let [0x50..=0x5f, 0x2a, 0x4d, 0x18] = magic {
            let mut length = [0; 4];
            rest.read_exact(&mut length)?;
            io::copy(&mut (&mut rest).take(u32::from_le_bytes(length).into()), &mut io::sink())?;
            self.rest = Some(rest);
            return Ok(());
        }
        let whole: Box<dyn BufRead> = Box::new(Cursor::new(magic).chain(rest));
        self.frame = Some(StreamingDecoder::new(whole).map_err(io::Error::other)?);
        Ok(())
    }
}
