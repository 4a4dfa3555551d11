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

/// Our place in the kernel log.
#[derive(Clone)]
pub struct Log(Arc<Mutex<File>>);

/// Sends every record of the kernel log: those of the boot at once (where the channel is `fast`: a serial line takes
/// two seconds for them), the others as they come.
pub fn follow(sender: &Sender, fast: bool) -> io::Result<Log> {
    let mut file = OpenOptions::new().read(true).custom_flags(sys::O_NONBLOCK).open("/dev/kmsg")?;
    if !fast {
        file.seek(SeekFrom::End(0))?;
    }
    let fd = file.as_raw_fd();
    let log = Log(Arc::new(Mutex::new(file)));
    log.pass_on(sender);
    let (follower, sender) = (log.clone(), sender.clone());
    std::thread::spawn(move || {
        sys::run_first();
        while sys::wait_readable(fd).is_ok() {
            follower.pass_on(&sender);
        }
    });
    Ok(log)
}

impl Log {
    /// Sends what the kernel has said since the last call. A command's end is reported after this, so that the host
    /// knows which lines fell into its time.
    pub fn pass_on(&self, sender: &Sender) {
        let mut file = lock(&self.0);
        let mut records = Vec::new();
        while let Some(record) = next(&mut file) {
            if records.len() + record.len() > MAX_CHUNK {
                send(sender, &mut records);
            }
            records.extend_from_slice(&record);
        }
        send(sender, &mut records);
    }
}

fn send(sender: &Sender, records: &mut Vec<u8>) {
    if !records.is_empty() {
        sender.send(&ToHost::Kernel { records: Bytes(std::mem::take(records)) });
    }
}

/// The next record, if the kernel has said more: one read gives one.
fn next(file: &mut File) -> Option<Vec<u8>> {
    // CONSOLE_EXT_LOG_MAX.
    let mut record = vec![0; 8192];
    loop {
        match file.read(&mut record) {
            Ok(len) if len > 0 => {
                record.truncate(len);
                return Some(record);
            }
            // The ring buffer has overtaken us; the next read goes on with its oldest record.
            Err(error) if error.raw_os_error() == Some(sys::EPIPE) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return None,
        }
    }
}
