//! The device's side of vhost-user: what QEMU asks and sets, on a socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::memory::{Memory, invalid};
use super::message::{Message, request};
use super::queue::{Queue, Rings};

/// virtio 1.x, indirect descriptors, event indexes (what every Linux driver uses), and vhost-user's own features.
const FEATURES: u64 = 1 << 32 | 1 << 28 | EVENT_INDEX | PROTOCOL_FEATURES;
const EVENT_INDEX: u64 = 1 << 29;
const PROTOCOL_FEATURES: u64 = 1 << 30;

/// The protocol's features: the number of queues can be asked, QEMU hears whether a message was done, and there is a
/// configuration space.
const MULTI_QUEUE: u64 = 1 << 0;
const REPLY_ACK: u64 = 1 << 3;
const CONFIG: u64 = 1 << 9;

/// What a device is to its front end, which is QEMU.
#[derive(Debug)]
pub(super) struct FrontEnd {
    socket: UnixStream,
    /// The configuration space; QEMU keeps that of a device without one itself.
    config: Vec<u8>,
    max_size: u16,
    protocol: u64,
    pub(super) memory: Memory,
    pub(super) queues: Vec<Queue>,
}

impl FrontEnd {
    pub(super) fn new(socket: UnixStream, config: Vec<u8>, queues: usize, max_size: u16) -> Self {
        let queues = (0..queues).map(|_| Queue::default()).collect();
        Self { socket, config, max_size, protocol: 0, memory: Memory::default(), queues }
    }

    /// What is readable when there is something to do: QEMU's messages, and the guest's kicks.
    pub(super) fn sources(&self) -> (BorrowedFd<'_>, impl Iterator<Item = BorrowedFd<'_>>) {
        (self.socket.as_fd(), self.queues.iter().filter_map(|queue| queue.kick.as_ref()).map(AsFd::as_fd))
    }

    /// Receives one message; `before_stop` is called before a queue stops. False: QEMU is gone.
    pub(super) fn serve(&mut self, before_stop: impl FnOnce(&Memory, &mut [Queue])) -> io::Result<bool> {
        let Some(mut message) = Message::receive(&self.socket)? else { return Ok(false) };
        if message.request == request::GET_VRING_BASE {
            before_stop(&self.memory, &mut self.queues);
        }
        let answer = self.answer(&mut message);
        let ack = (message.wants_ack && self.protocol & REPLY_ACK != 0)
            .then(|| u64::from(answer.is_err()).to_ne_bytes().to_vec());
        if let Some(body) = answer.as_ref().unwrap_or(&None).as_ref().or(ack.as_ref()) {
            match message.reply(&self.socket, body) {
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
                replied => replied?,
            }
        }
        answer.map(|_| true)
    }

    /// Does what a message says; the answer is for those that ask for something.
    fn answer(&mut self, message: &mut Message) -> io::Result<Option<Vec<u8>>> {
        let long = |value: u64| Ok(Some(value.to_ne_bytes().to_vec()));
        match message.request {
            request::GET_FEATURES => long(FEATURES),
            request::GET_PROTOCOL_FEATURES => long(self.protocol_offered()),
            request::GET_QUEUE_NUM => long(self.queues.len() as u64),
            request::GET_CONFIG => self.read_config(message).map(Some),
            request::GET_VRING_BASE => {
                let [index] = message.words()?;
                let base = self.queue(index)?.stop();
                Ok(Some([index, u32::from(base)].map(u32::to_ne_bytes).as_flattened().to_vec()))
            }
            _ => self.set(message).map(|()| None),
        }
    }

    fn set(&mut self, message: &mut Message) -> io::Result<()> {
        match message.request {
            request::SET_OWNER => {}
            // "Ignored, or all rings disabled".
            request::RESET_OWNER => self.queues.iter_mut().for_each(|queue| queue.enabled = false),
            request::SET_FEATURES => self.agree(message.longs(0)?)?,
            request::SET_PROTOCOL_FEATURES => [self.protocol] = message.longs(0)?,
            request::SET_MEM_TABLE => self.memory = Memory::map(&message.places()?, &message.files)?,
            _ => self.set_queue(message)?,
        }
        Ok(())
    }

    fn set_queue(&mut self, message: &mut Message) -> io::Result<()> {
        match message.request {
            request::SET_VRING_NUM => self.set_size(message.words()?)?,
            request::SET_VRING_ADDR => self.set_rings(message)?,
            request::SET_VRING_BASE => {
                let [index, base] = message.words()?;
                self.queue(index)?.next_available = base as u16;
            }
            request::SET_VRING_ENABLE => {
                let [index, enabled] = message.words()?;
                self.queue(index)?.enabled = enabled != 0;
            }
            request::SET_VRING_KICK | request::SET_VRING_CALL | request::SET_VRING_ERR => self.set_file(message)?,
            _ => return Err(invalid("a request that was not agreed on")),
        }
        Ok(())
    }

    fn protocol_offered(&self) -> u64 {
        MULTI_QUEUE | REPLY_ACK | if self.config.is_empty() { 0 } else { CONFIG }
    }

    fn agree(&mut self, [features]: [u64; 1]) -> io::Result<()> {
        if features & !FEATURES != 0 {
            return Err(invalid("features that were not offered"));
        }
        for queue in &mut self.queues {
            queue.event_index = features & EVENT_INDEX != 0;
            // A front end that cannot say so wants all queues at once.
            queue.enabled |= features & PROTOCOL_FEATURES == 0;
        }
        Ok(())
    }

    fn read_config(&self, message: &Message) -> io::Result<Vec<u8>> {
        let [offset, size, flags] = message.words()?;
        let config = self.config.get(offset as usize..).and_then(|rest| rest.get(..size as usize));
        // Nothing of it is how a failure is told.
        let (size, config) = config.map_or((0, &[][..]), |config| (size, config));
        Ok([[offset, size, flags].map(u32::to_ne_bytes).as_flattened(), config].concat())
    }

    fn queue(&mut self, index: u32) -> io::Result<&mut Queue> {
        self.queues.get_mut(index as usize).ok_or_else(|| invalid("a queue that the device does not have"))
    }

    fn set_size(&mut self, [index, size]: [u32; 2]) -> io::Result<()> {
        let size = u16::try_from(size).ok().filter(|size| (1..=self.max_size).contains(size));
        self.queue(index)?.size = size.ok_or_else(|| invalid("a queue that is empty or too long"))?;
        Ok(())
    }

    fn set_rings(&mut self, message: &Message) -> io::Result<()> {
        let [index] = message.words()?;
        let [descriptors, used, available] = message.longs(8)?;
        let place = |user| self.memory.guest_address(user);
        let rings =
            || Some(Rings { descriptors: place(descriptors)?, available: place(available)?, used: place(used)? });
        let rings = rings().ok_or_else(|| invalid("a ring out of the guest's memory"))?;
        let queue =
            self.queues.get_mut(index as usize).ok_or_else(|| invalid("a queue that the device does not have"))?;
        queue.place(&self.memory, rings).ok_or_else(|| invalid("a ring that is not aligned"))
    }

    fn set_file(&mut self, message: &mut Message) -> io::Result<()> {
        let (index, file) = message.queue_file()?;
        let queue = self.queue(index as u32)?;
        match message.request {
            request::SET_VRING_KICK => queue.kick = file,
            request::SET_VRING_CALL => queue.call = file,
            // We have no errors to tell.
            _ => drop(file),
        }
        Ok(())
    }
}
