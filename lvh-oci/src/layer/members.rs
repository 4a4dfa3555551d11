use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;

use tar::{EntryType, Header};

use crate::{Error, Result};

const BLOCK: u64 = 512;

/// The longest name or extended header: the kernel's PATH_MAX is 4096.
const LONGEST_NAME: u64 = 1 << 20;

/// The members of a tar file, one after the other. Unlike the `tar` crate's it holds no name that is longer than any can be.
pub(super) struct Members<R> {
    stream: R,
    what: String,
    /// Bytes of the present member that were not read, and those that fill up its last block.
    left: u64,
    padding: u64,
    /// What may still be read.
    budget: u64,
    limit: u64,
}

/// One member; its bytes are read from [`Members`].
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: OsString,
    pub(super) kind: EntryType,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) link: OsString,
    /// A file with holes, in the way of GNU tar's extended headers.
    pub(super) sparse: bool,
}

/// What precedes a member and is about it.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl<R: Read> Members<R> {
    /// Reads `stream`, at most `limit` bytes; `what` is for errors.
    pub(super) fn new(stream: R, what: String, limit: u64) -> Self {
        Self { stream, what, left: 0, padding: 0, budget: limit, limit }
    }

    /// The next member; skips what was not read of the one before.
    pub(super) fn next(&mut self) -> Result<Option<Member>> {
        let mut extended = Extended::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let size = header.entry_size().map_err(|e| self.damaged(e))?;
            match header.entry_type() {
                EntryType::GNULongName => extended.name = Some(self.text(size)?),
                EntryType::GNULongLink => extended.link = Some(self.text(size)?),
                EntryType::XHeader => {
                    let bytes = self.bytes(size)?;
                    extended.read(&bytes).map_err(|e| self.damaged(e))?;
                }
                EntryType::XGlobalHeader => drop(self.bytes(size)?),
                kind => return self.member(&header, kind, size, extended).map(Some),
            }
        }
    }

    fn member(&mut self, header: &Header, kind: EntryType, size: u64, extended: Extended) -> Result<Member> {
        // Links and directories may give a size, and have no bytes.
        let size = match kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
            true => extended.size.unwrap_or(size),
            false => 0,
        };
        self.begin(size);
        let link = extended.link.or_else(|| header.link_name_bytes().map(Into::into)).unwrap_or_default();
        Ok(Member {
            name: OsString::from_vec(extended.name.unwrap_or_else(|| header.path_bytes().into_owned())),
            kind,
            size,
            mode: header.mode().map_err(|e| self.damaged(e))?,
            link: OsString::from_vec(link),
            sparse: extended.sparse || kind.is_gnu_sparse(),
        })
    }

    /// The next header; none at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>> {
        self.skip()?;
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < block.len() {
            match self.stream.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.damaged("it ends in the middle of a header")),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.damaged(e)),
            }
        }
        self.spend(BLOCK)?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        match header.cksum() {
            Ok(sum) if sum == checksum(header.as_bytes()) => Ok(Some(header)),
            _ => Err(self.damaged("a header's checksum is wrong")),
        }
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK - size % BLOCK) % BLOCK;
    }

    fn skip(&mut self) -> Result<()> {
        let gap = self.left.saturating_add(self.padding);
        self.spend(gap)?;
        let copied = io::copy(&mut (&mut self.stream).take(gap), &mut io::sink()).map_err(|e| self.damaged(e))?;
        if copied < gap {
            return Err(self.damaged("it ends in the middle of a file"));
        }
        self.begin(0);
        Ok(())
    }

    fn bytes(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > LONGEST_NAME {
            return Err(self.damaged("a name is longer than any can be"));
        }
        self.begin(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(|e| self.damaged(e))?;
        Ok(bytes)
    }

    fn text(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut bytes = self.bytes(size)?;
        if bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(bytes)
    }

    fn spend(&mut self, bytes: u64) -> Result<()> {
        let what = format!("what is packed in `{}`", self.what);
        self.budget = self.budget.checked_sub(bytes).ok_or(Error::TooLarge { what, limit: self.limit })?;
        Ok(())
    }

    pub(super) fn damaged(&self, why: impl ToString) -> Error {
        Error::invalid(&self.what, why)
    }
}

/// The bytes of the present member.
impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.stream.read(&mut buffer[..most])?;
        if n == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends in the middle of a file"));
        }
        self.left -= n as u64;
        self.budget = self.budget.saturating_sub(n as u64);
        Ok(n)
    }
}

impl Extended {
    fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        for field in tar::PaxExtensions::new(bytes) {
            let field = field?;
            match field.key_bytes() {
                b"path" => self.name = Some(field.value_bytes().to_vec()),
                b"linkpath" => self.link = Some(field.value_bytes().to_vec()),
                b"size" => self.size = Some(number(field.value_bytes())?),
                key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }
}

fn number(text: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(text).map_err(io::Error::other)?;
    text.parse().map_err(io::Error::other)
}

/// The sum of a header's bytes, with spaces in place of the sum itself (POSIX, ustar).
fn checksum(block: &[u8]) -> u32 {
    block
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { u32::from(b' ') } else { u32::from(*byte) })
        .sum()
}
