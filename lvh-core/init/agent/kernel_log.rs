//! Passing on the kernel log.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex};

use crate::agent::channel::Sender;
use crate::guest::protocol::{MAX_CHUNK, ToHost};
use crate::guest::wire::Bytes;
use crate::{lock, sys};

/// Says in the kernel log that lvh-init runs, and after how many cycles of the processor: under QEMU's `-icount shift=0`
/// these are the instructions since power-on, and `bench/` reads them. The node comes with the initramfs, for `/dev` is not
/// mounted yet; a kernel without a log goes without.
pub fn announce() {
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = log.write_all(format!("<6>lvh-init: started, cycles={}\n", sys::cycles()).as_bytes());
    }
}

/// The kernel log, as far as we have come in it.
#[derive(Clone)]
pub struct Log(Arc<Mutex<Reader>>);

/// The longest record, in bytes: the kernel's CONSOLE_EXT_LOG_MAX.
const RECORD: usize = 8192;

struct Reader {
    file: File,
    /// Room for one record.
    record: Box<[u8; RECORD]>,
    /// Records that the host has not got yet, in messages of their largest size.
    messages: Vec<Vec<u8>>,
}

impl Log {
    /// Opens the log, and reads what the boot has left there: one record takes one call, a thousand in all, which a snapshot
    /// then has behind it. Without those of the boot where the channel is not `fast`: a serial line takes two seconds for them.
    pub fn open(fast: bool) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).custom_flags(sys::O_NONBLOCK).open("/dev/kmsg")?;
        if !fast {
            file.seek(SeekFrom::End(0))?;
        }
        let mut reader = Reader { file, record: Box::new([0; RECORD]), messages: Vec::new() };
        reader.read();
        Ok(Self(Arc::new(Mutex::new(reader))))
    }

    /// Sends every record: those that there are at once, the others as they come.
    pub fn follow(&self, sender: &Sender) {
        self.pass_on(sender);
        let (fd, log, sender) = (lock(&self.0).file.as_raw_fd(), self.clone(), sender.clone());
        std::thread::spawn(move || {
            sys::run_first();
            while sys::wait_readable(fd).is_ok() {
                log.pass_on(&sender);
            }
        });
    }

    /// Sends what the kernel has said since the last call. A command's end is reported after this, so that the host
    /// knows which lines fell into its time.
    pub fn pass_on(&self, sender: &Sender) {
        let mut reader = lock(&self.0);
        reader.read();
        for records in reader.messages.drain(..) {
            sender.send(&ToHost::Kernel { records: Bytes(records) });
        }
    }
}

impl Reader {
    /// Reads what the kernel has said since the last call.
    fn read(&mut self) {
        while let Some(record) = next(&mut self.file, &mut self.record[..]) {
            match self.messages.last_mut() {
                Some(message) if message.len() + record.len() <= MAX_CHUNK => message.extend_from_slice(record),
                _ => self.messages.push(record.to_vec()),
            }
        }
    }
}

/// The next record, if the kernel has said more: one read gives one.
fn next<'r>(file: &mut File, room: &'r mut [u8]) -> Option<&'r [u8]> {
    loop {
        match file.read(room) {
            Ok(len) if len > 0 => return Some(&room[..len]),
            // The ring buffer has overtaken us; the next read goes on with its oldest record.
            Err(error) if error.raw_os_error() == Some(sys::EPIPE) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return None,
        }
    }
}
