//! Messages on an asynchronous stream.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::guest::protocol::{self, MAGIC, MAX_WRITE};
use crate::guest::wire::{Wire, malformed};

/// How much may stand before the first message on a serial line, in bytes.
const PREAMBLE_LIMIT: usize = 64 << 10;

/// Writes a message that is [`protocol::encode`]d.
pub(crate) async fn send(writer: &mut OwnedWriteHalf, bytes: &[u8]) -> io::Result<()> {
    for chunk in bytes.chunks(MAX_WRITE) {
        writer.write_all(chunk).await?;
    }
    Ok(())
}

/// Reads one message; none when the other side has closed the channel between two.
pub(crate) async fn receive<T: Wire>(reader: &mut OwnedReadHalf, limit: usize) -> io::Result<Option<T>> {
    let mut header = [0; 4];
    if reader.read(&mut header[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut header[1..]).await?;
    let len = protocol::check_length(header, limit)?;
    let mut bytes = Vec::new();
    if reader.take(len as u64).read_to_end(&mut bytes).await? < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    protocol::decode(&bytes).map(Some)
}

/// Reads up to and with [`MAGIC`].
pub(crate) async fn skip_preamble(reader: &mut OwnedReadHalf) -> io::Result<()> {
    let mut last = [0; MAGIC.len()];
    for _ in 0..PREAMBLE_LIMIT {
        last.rotate_left(1);
        last[MAGIC.len() - 1] = reader.read_u8().await?;
        if last == *MAGIC {
            return Ok(());
        }
    }
    Err(malformed("the guest did not begin with the magic number"))
}
