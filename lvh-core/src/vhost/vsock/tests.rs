use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::connection::BUF_ALLOC;
use super::handler::Vsock;
use super::packet::{HEADER_LEN, HOST_CID, Header, STREAM, op, shut};
use super::relay::{Connect, MAX_CONNECTIONS, MAX_REFUSALS, Relay};
use crate::vhost::fake_guest::{DATA, FakeGuest, NEXT, Odd, WRITE};

const CID: u64 = 7;
/// The one port that the host serves.
const SERVED: u32 = 80;

/// Serves `SERVED`; the host's ends come out of the receiver.
fn host() -> (Connect, Receiver<UnixStream>) {
    let (sender, receiver) = channel();
    let connect = move |port| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        (port == SERVED).then(|| sender.send(theirs).unwrap()).map(|()| ours)
    };
    (Box::new(connect), receiver)
}

fn packet(op: u16, len: usize) -> Header {
    Header {
        src_cid: CID,
        dst_cid: HOST_CID,
        src_port: 1000,
        dst_port: SERVED,
        len: len as u32,
        kind: STREAM,
        op,
        buf_alloc: BUF_ALLOC,
        ..Header::default()
    }
}

/// A relay with one accepted connection, and the host's end of it.
fn connected() -> (Relay, UnixStream) {
    let (connect, ends) = host();
    let mut relay = Relay::new(CID, connect).unwrap();
    relay.receive(&packet(op::REQUEST, 0), &[]);
    assert_eq!(next(&mut relay), Some((op::RESPONSE, 0, vec![])));
    (relay, ends.recv().unwrap())
}

/// The next packet for the guest: what for, flags, payload.
fn next(relay: &mut Relay) -> Option<(u16, u32, Vec<u8>)> {
    relay.poll();
    let mut buffer = vec![0; 4096];
    let header = relay.next_packet(&mut buffer)?;
    buffer.truncate(header.len as usize);
    Some((header.op, header.flags, buffer))
}

#[test]
fn a_port_that_nobody_serves_is_refused() {
    let mut relay = Relay::new(CID, host().0).unwrap();
    relay.receive(&Header { dst_port: 9, ..packet(op::REQUEST, 0) }, &[]);
    let answer = relay.next_packet(&mut []).unwrap();
    assert_eq!((answer.op, answer.src_port, answer.dst_port), (op::RST, 9, 1000));
    assert_eq!(relay.connections(), 0);
}

#[test]
fn bytes_go_both_ways() {
    let (mut relay, mut host) = connected();
    relay.receive(&packet(op::RW, 5), b"hello");
    let mut got = [0; 5];
    host.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hello");
    host.write_all(b"world").unwrap();
    assert_eq!(next(&mut relay), Some((op::RW, 0, b"world".to_vec())));
    assert_eq!(next(&mut relay), None);
}

#[test]
fn a_host_that_does_not_read_holds_the_guest_up() {
    let (mut relay, mut host) = connected();
    let chunk = vec![1; 64 * 1024];
    let mut sent: usize = 0;
    // Until the socket is full and our buffer behind it as well.
    let forwarded = loop {
        relay.receive(&packet(op::CREDIT_REQUEST, 0), &[]);
        let header = relay.next_packet(&mut []).unwrap();
        assert_eq!(header.op, op::CREDIT_UPDATE);
        if sent + chunk.len() > header.fwd_cnt as usize + BUF_ALLOC as usize {
            break header.fwd_cnt;
        }
        relay.receive(&packet(op::RW, chunk.len()), &chunk);
        sent += chunk.len();
    };
    assert!(sent <= forwarded as usize + BUF_ALLOC as usize);
    let mut got = vec![0; sent];
    let mut read = 0;
    while read < sent {
        read += host.read(&mut got[read..]).unwrap();
        relay.poll();
    }
    let mut buffer = [0; 64];
    assert_eq!(
        relay.next_packet(&mut buffer).map(|header| (header.op, header.fwd_cnt)),
        Some((op::CREDIT_UPDATE, sent as u32))
    );
}

#[test]
fn data_beyond_the_credit_resets_the_connection() {
    let (mut relay, _host) = connected();
    let chunk = vec![1; BUF_ALLOC as usize];
    let mut packets = 0;
    while relay.next_packet(&mut []).is_none_or(|header| header.op != op::RST) {
        relay.receive(&packet(op::RW, chunk.len()), &chunk);
        packets += 1;
        assert!(packets < 10, "the host's socket does not take that much");
    }
}

#[test]
fn the_guests_credit_bounds_what_it_gets() {
    let (mut relay, mut host) = connected();
    relay.receive(&Header { buf_alloc: 4, ..packet(op::CREDIT_UPDATE, 0) }, &[]);
    host.write_all(b"abcdefgh").unwrap();
    assert_eq!(next(&mut relay), Some((op::RW, 0, b"abcd".to_vec())));
    assert_eq!(next(&mut relay), Some((op::CREDIT_REQUEST, 0, vec![])));
    assert_eq!(next(&mut relay), None);
    relay.receive(&Header { buf_alloc: 4, fwd_cnt: 3, ..packet(op::CREDIT_UPDATE, 0) }, &[]);
    assert_eq!(next(&mut relay), Some((op::RW, 0, b"efg".to_vec())));
}

#[test]
fn each_side_may_close_its_half() {
    let (mut relay, mut host) = connected();
    host.write_all(b"last").unwrap();
    host.shutdown(Shutdown::Write).unwrap();
    assert_eq!(next(&mut relay), Some((op::RW, 0, b"last".to_vec())));
    assert_eq!(next(&mut relay), Some((op::SHUTDOWN, shut::SEND, vec![])));
    relay.receive(&packet(op::RW, 3), b"end");
    relay.receive(&Header { flags: shut::SEND, ..packet(op::SHUTDOWN, 0) }, &[]);
    let mut got = Vec::new();
    host.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"end");
}

#[test]
fn a_close_is_answered_when_the_host_has_everything() {
    let (mut relay, mut host) = connected();
    relay.receive(&packet(op::RW, 3), b"end");
    relay.receive(&Header { flags: shut::BOTH, ..packet(op::SHUTDOWN, 0) }, &[]);
    let answers: Vec<_> = std::iter::from_fn(|| next(&mut relay)).map(|(op, ..)| op).collect();
    assert_eq!(answers.last(), Some(&op::RST));
    assert_eq!(relay.connections(), 0);
    let mut got = Vec::new();
    host.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"end");
}

#[test]
fn a_host_that_goes_away_closes_both_halves() {
    let (mut relay, host) = connected();
    drop(host);
    let mut flags = 0;
    // A program that another thread's test starts has it too until it is executed.
    let begin = Instant::now();
    while flags != shut::BOTH {
        assert!(begin.elapsed() < Duration::from_secs(20), "{flags}");
        let Some((op, shut, _)) = next(&mut relay) else { continue };
        assert_eq!(op, op::SHUTDOWN);
        flags |= shut;
    }
    assert_eq!(next(&mut relay), None);
}

#[test]
fn a_flood_of_connections_ends_at_the_limit() {
    let (connect, _ends) = host();
    let mut relay = Relay::new(CID, connect).unwrap();
    for port in 0..10_000 {
        relay.receive(&Header { src_port: port, ..packet(op::REQUEST, 0) }, &[]);
    }
    assert_eq!(relay.connections(), MAX_CONNECTIONS);
    assert!(relay.is_stalled());
    let refused = std::iter::from_fn(|| relay.next_packet(&mut [])).filter(|header| header.op == op::RST).count();
    assert_eq!(refused, MAX_REFUSALS);
}

#[test]
fn a_packet_may_lie_in_many_descriptors() {
    let (connect, ends) = host();
    let mut device = Vsock::new(CID, connect).unwrap();
    let mut guest = FakeGuest::new(2);
    guest.write(DATA, &packet(op::REQUEST, 0).to_bytes());
    guest.offer(1, &[(DATA, HEADER_LEN as u32, 0)]);
    guest.run(&mut device);
    guest.write(DATA, &packet(op::RW, 12).to_bytes());
    guest.write(DATA + 0x1000, b"scattered!!!");
    let header = [(DATA, 20, NEXT), (DATA + 20, 24, NEXT)];
    let data = [(DATA + 0x1000, 5, NEXT), (DATA + 0x1005, 1, NEXT), (DATA + 0x1006, 6, 0)];
    guest.offer(1, &[header.as_slice(), &data].concat());
    guest.run(&mut device);
    let mut got = [0; 12];
    ends.recv().unwrap().read_exact(&mut got).unwrap();
    assert_eq!(&got, b"scattered!!!");
    // The answer waited for a buffer.
    assert_eq!(guest.used(0), 0);
    guest.offer(0, &[(DATA + 0x2000, 4096, WRITE)]);
    guest.run(&mut device);
    let answer = Header::parse(guest.read(DATA + 0x2000, HEADER_LEN).first_chunk().unwrap());
    assert_eq!((answer.op, guest.last_used(0)), (op::RESPONSE, HEADER_LEN as u32));
}

/// A guest that sends headers of likely fields in any order, with any length.
#[test]
fn odd_packets_do_no_harm() {
    let (connect, ends) = host();
    let mut relay = Relay::new(CID, connect).unwrap();
    let mut odd = Odd(0x1234_5678);
    let mut buffer = vec![0; 4096];
    let payload = vec![0; 70_000];
    for _ in 0..60_000 {
        let len = [0, 1, odd.below(4096), odd.below(70_000)][odd.below(4) as usize] as usize;
        let header = Header {
            src_port: odd.below(300) as u32,
            dst_port: SERVED + u32::from(odd.below(20) == 0),
            kind: STREAM + u16::from(odd.below(50) == 0),
            flags: odd.below(5) as u32,
            buf_alloc: odd.number() as u32,
            fwd_cnt: odd.number() as u32,
            len: if odd.below(20) == 0 { odd.number() as u32 } else { len as u32 },
            ..packet(odd.below(9) as u16, 0)
        };
        relay.receive(&header, &payload[..len]);
        relay.poll();
        if odd.below(3) > 0 {
            let room = odd.below(buffer.len() as u64) as usize;
            relay.next_packet(&mut buffer[..room]);
        }
        if odd.below(100) == 0 {
            drop(ends.try_recv());
        }
        assert!(relay.connections() <= MAX_CONNECTIONS);
    }
}

/// A guest whose queues are noise.
#[test]
fn odd_queues_do_no_harm() {
    let (connect, _ends) = host();
    let mut device = Vsock::new(CID, connect).unwrap();
    let mut guest = FakeGuest::new(2);
    let mut odd = Odd(99);
    for round in 0..2000 {
        for queue in 0..2 {
            guest.scribble(queue, &mut || [0, 1, 0x40, odd.number() as u8][odd.below(4) as usize]);
        }
        guest.write(0x4000, &packet(op::REQUEST, round).to_bytes());
        guest.run(&mut device);
    }
}
