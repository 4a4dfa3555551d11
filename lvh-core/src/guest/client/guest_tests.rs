//! A guest on the other end of a socket pair, which does as each test wants.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Guest;
use crate::guest::client::flow::Flow;
use crate::guest::client::framing::{receive, send};
use crate::guest::client::process::{Exit, ProcessEvent, Stream};
use crate::guest::protocol::Change;
use crate::guest::protocol::{self, Command, MAX_MESSAGE, ToGuest, ToHost, WINDOW, encode, output_cost};
use crate::guest::wire::{Bytes, Wire};

/// Longer than anything here may take.
const SOON: Duration = Duration::from_secs(20);

/// The guest's end.
struct FakeGuest {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
}

fn pair() -> (Guest, FakeGuest) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (reader, writer) = theirs.into_split();
    let (our_reader, our_writer) = ours.into_split();
    (Guest::serve(our_reader, our_writer, None), FakeGuest { reader, writer })
}

impl FakeGuest {
    async fn say(&mut self, message: ToHost) {
        send(&mut self.writer, &encode(&message)).await.unwrap();
    }

    async fn hear(&mut self) -> ToGuest {
        timeout(SOON, receive(&mut self.reader, MAX_MESSAGE)).await.expect("a message").unwrap().expect("a message")
    }

    /// The number of the next thing that the host asks for.
    async fn asked(&mut self) -> u32 {
        match self.hear().await {
            ToGuest::Run { id, .. } | ToGuest::Collect { id, .. } | ToGuest::Shutdown { id } => id,
            other => panic!("{other:?}"),
        }
    }

    /// Takes so much of the window.
    async fn write(&mut self, id: u32, cost: u32) {
        let mut left = cost;
        while left > 0 {
            let len = left.saturating_sub(output_cost(0)).min(protocol::MAX_CHUNK as u32) as usize;
            let data = Bytes(vec![b'x'; len]);
            left = left.saturating_sub(output_cost(len));
            self.say(ToHost::Output { id, stream: protocol::Stream::Stdout {}, data }).await;
        }
    }

    async fn exit(&mut self, id: u32) {
        self.say(ToHost::Exited { id, exit: protocol::Exit::Code { code: 0 } }).await;
    }
}

fn collected(id: u32) -> ToHost {
    ToHost::Collected { id, problems: Vec::new() }
}

fn part(id: u32, name: &str, last: bool) -> ToHost {
    let change = if last { Change::Removed {} } else { Change::Data { offset: 0, data: Bytes(b"data".to_vec()) } };
    ToHost::Change { id, path: Bytes(name.into()), change }
}

#[tokio::test]
async fn a_process_that_nobody_polls_holds_up_nobody() {
    let (guest, mut fake) = pair();
    let mut held = guest.run(Command::default()).unwrap();
    let mut other = guest.run(Command::default()).unwrap();
    let (held_id, other_id) = (fake.asked().await, fake.asked().await);
    fake.write(held_id, WINDOW).await;
    fake.exit(other_id).await;
    assert_eq!(timeout(SOON, other.wait()).await.unwrap(), Some(Exit::Code(0)));
    let goodbye = async {
        let id = fake.asked().await;
        fake.say(ToHost::Bye { id }).await;
    };
    let (said, ()) = tokio::join!(timeout(SOON, guest.say_goodbye()), goodbye);
    said.unwrap().unwrap();
    let mut output = 0;
    while output < WINDOW {
        let Some(ProcessEvent::Output(Stream::Stdout, data)) = held.next().await else { panic!("output is lost") };
        output += output_cost(data.len());
    }
}

#[tokio::test]
async fn a_guest_that_sends_more_than_it_may_is_given_up() {
    let (guest, mut fake) = pair();
    let _held = guest.run(Command::default()).unwrap();
    let id = fake.asked().await;
    fake.write(id, WINDOW).await;
    assert!(!guest.broke());
    fake.write(id, 1).await;
    assert_eq!(guest.closed().await, "the channel broke: malformed message: more output than was asked for");
    assert!(guest.broke());
    assert!(guest.run(Command::default()).is_err());
}

#[tokio::test]
async fn stacks_are_asked_for_and_told_once() {
    let (guest, mut fake) = pair();
    let mut process = guest.run(Command::default()).unwrap();
    let id = fake.asked().await;
    process.explain().unwrap();
    assert_eq!(fake.hear().await, ToGuest::Explain { id });
    let stacks = || ToHost::Stacks { id, lines: vec!["a".to_owned()], asked: true };
    fake.say(stacks()).await;
    assert_eq!(process.next().await, Some(ProcessEvent::Stacks { lines: vec!["a".to_owned()], asked: true }));
    fake.say(stacks()).await;
    assert_eq!(guest.closed().await, "the channel broke: malformed message: stacks a second time");
}

#[tokio::test]
async fn changes_are_told_once() {
    let (guest, mut fake) = pair();
    let mut process = guest.run(Command::default()).unwrap();
    let id = fake.asked().await;
    let changed = || ToHost::Changed { id, changes: vec!["a".to_owned()] };
    fake.say(changed()).await;
    assert_eq!(process.next().await, Some(ProcessEvent::Changed(vec!["a".to_owned()])));
    fake.say(changed()).await;
    assert_eq!(guest.closed().await, "the channel broke: malformed message: changes a second time");
}

#[tokio::test]
async fn what_is_taken_is_credited_and_so_is_what_nobody_wants() {
    let (guest, mut fake) = pair();
    let mut process = guest.run(Command::default()).unwrap();
    let id = fake.asked().await;
    fake.write(id, WINDOW).await;
    let mut taken = 0;
    while taken < WINDOW / 2 {
        let Some(ProcessEvent::Output(_, data)) = process.next().await else { panic!("output is lost") };
        taken += output_cost(data.len());
    }
    assert_eq!(fake.hear().await, ToGuest::Consumed { id, bytes: taken });
    drop(process);
    fake.write(id, 1000).await;
    let mut credited = taken;
    while credited < WINDOW + 1000 {
        let ToGuest::Consumed { bytes, .. } = fake.hear().await else { panic!("no credit") };
        credited += bytes;
    }
    assert_eq!(credited, WINDOW + 1000);
    assert!(!guest.broke());
}

#[tokio::test]
async fn collections_are_told_apart() {
    let (guest, mut fake) = pair();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let name = |part: &ToHost| match part {
        ToHost::Change { path, .. } => String::from_utf8(path.0.clone()).unwrap(),
        other => panic!("{other:?}"),
    };
    let answers = async {
        let (a, b) = (fake.asked().await, fake.asked().await);
        for message in [part(b, "b", true), part(a, "a", false), collected(b), part(a, "a", true)] {
            fake.say(message).await;
        }
        fake.say(collected(a)).await;
    };
    let collect_first = guest.collect(b"/a", false, |part| {
        first.push(name(&part));
        Ok(())
    });
    let collect_second = guest.collect(b"/b", false, |part| {
        second.push(name(&part));
        Ok(())
    });
    let (a, b, ()) = tokio::join!(collect_first, collect_second, answers);
    a.unwrap();
    b.unwrap();
    assert_eq!((first, second), (vec!["a".to_owned(), "a".to_owned()], vec!["b".to_owned()]));
}

#[tokio::test]
async fn control_goes_before_input() {
    let (guest, mut fake) = pair();
    let process = guest.run(Command::default()).unwrap();
    let id = fake.asked().await;
    // More than the socket holds: the writer is held up in the first of them.
    let mut stdin = process.stdin();
    let chunk = vec![0; protocol::STDIN_WINDOW as usize];
    let mut sent = 0;
    while timeout(Duration::from_millis(200), stdin.send(&chunk)).await.is_ok() {
        sent += 1;
    }
    process.kill().unwrap();
    let mut before = 0;
    loop {
        match fake.hear().await {
            ToGuest::Stdin { .. } => before += 1,
            ToGuest::Kill { id: killed } => break assert_eq!(killed, id),
            other => panic!("{other:?}"),
        }
    }
    assert!(before < sent, "{before} of {sent} messages of input came before the kill");
}

#[tokio::test]
async fn a_flood_of_the_kernels_is_counted() {
    let (guest, mut fake) = pair();
    let mut process = guest.run(Command::default()).unwrap();
    let id = fake.asked().await;
    let record = format!("6,1,1,-;{}\n", "x".repeat(7000));
    const RECORDS: u64 = 3000;
    for _ in 1..RECORDS {
        fake.say(ToHost::Kernel { records: Bytes(record.clone().into_bytes()) }).await;
    }
    fake.say(ToHost::Started { id }).await;
    let (mut seen, mut lost, mut started) = (0, 0, false);
    while seen + lost < RECORDS || !started {
        match timeout(SOON, process.next()).await.unwrap().unwrap() {
            ProcessEvent::Kernel(_) => seen += 1,
            ProcessEvent::KernelLost(records) => lost += records,
            ProcessEvent::Started => {
                started = true;
                // Those that were lost last are told with the next.
                fake.say(ToHost::Kernel { records: Bytes(record.clone().into_bytes()) }).await;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(seen > 1000 && lost > 100, "{seen} and {lost}");
}

/// The owner drops it on one thread while what it writes arrives on another.
#[test]
fn what_two_threads_credit_is_credited_once() {
    let (control, mut requests) = mpsc::unbounded_channel();
    let flow = Flow::new(1, control);
    let other = Arc::clone(&flow);
    let dropping = thread::spawn(move || (0..200_000).for_each(|_| other.credit_all()));
    for _ in 0..200_000 {
        flow.arrived(100).expect("all of before is credited");
        flow.credit_all();
    }
    dropping.join().unwrap();
    let mut credited = 0_u64;
    while let Ok(message) = requests.try_recv() {
        let Ok(ToGuest::Consumed { bytes, .. }) = protocol::decode(&message[4..]) else { panic!("no credit") };
        credited += u64::from(bytes);
    }
    assert_eq!(credited, 200_000 * 100);
}

/// However little is in them: each takes memory until it is taken.
#[tokio::test]
async fn messages_without_bytes_are_bounded_too() {
    let stdout = protocol::Stream::Stdout {};
    for message in [
        |id, stream| ToHost::Output { id, stream, data: Bytes(Vec::new()) },
        |id, stream| ToHost::Output { id, stream, data: Bytes(vec![b'x']) },
        |id, _| ToHost::Started { id },
    ] {
        let (guest, mut fake) = pair();
        let _held = guest.run(Command::default()).unwrap();
        let bytes = encode(&message(fake.asked().await, stdout.clone())).repeat(1000);
        // As many as a host without bounds takes in a moment; one that gives up reads no more.
        let flood = async {
            for _ in 0..100 {
                send(&mut fake.writer, &bytes).await.unwrap();
            }
        };
        tokio::select! {
            _ = guest.closed() => {}
            () = flood => timeout(SOON, guest.closed()).await.map(drop).expect("it is given up"),
        }
        assert!(guest.broke());
    }
}

#[tokio::test]
async fn what_the_kernel_said_last_is_counted_when_a_process_ends() {
    let (guest, mut fake) = pair();
    let mut process = guest.run(Command::default()).unwrap();
    let id = fake.asked().await;
    let record = format!("6,1,1,-;{}\n", "x".repeat(7000));
    const RECORDS: u64 = 3000;
    for _ in 0..RECORDS {
        fake.say(ToHost::Kernel { records: Bytes(record.clone().into_bytes()) }).await;
    }
    fake.exit(id).await;
    // All of that has arrived when this has.
    let mut other = guest.run(Command::default()).unwrap();
    let other_id = fake.asked().await;
    fake.exit(other_id).await;
    timeout(SOON, other.wait()).await.unwrap();
    let (mut seen, mut lost) = (0, 0);
    loop {
        match timeout(SOON, process.next()).await.unwrap().unwrap() {
            ProcessEvent::Kernel(_) => seen += 1,
            ProcessEvent::KernelLost(records) => lost += records,
            ProcessEvent::Exited(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(lost > 0);
    assert_eq!(seen + lost, RECORDS);
}

#[tokio::test]
async fn a_guest_that_is_gone_ends_all_that_is_under_way() {
    let (guest, mut fake) = pair();
    let mut process = guest.run(Command::default()).unwrap();
    let ((), collected) = tokio::join!(
        async {
            fake.asked().await;
            fake.asked().await;
            drop(fake);
        },
        guest.collect(b"/", false, |_| Ok(())),
    );
    assert!(collected.is_err());
    assert_eq!(process.next().await, None);
    assert_eq!(guest.closed().await, "the guest closed the channel");
    assert!(guest.say_goodbye().await.is_err());
}

#[test]
fn every_message_has_its_cost() {
    let output = ToHost::Output { id: 1, stream: protocol::Stream::Report {}, data: Bytes(vec![0; 9]) };
    assert!(output.cost() > 9);
    assert!(part(1, "name", false).cost() > 8);
    assert_eq!(collected(1).cost(), 0);
    let mut bytes = Vec::new();
    output.put(&mut bytes);
    assert!(bytes.len() >= 9);
}

#[tokio::test]
async fn a_guest_is_asked_whether_it_is_alive() {
    let (guest, mut fake) = pair();
    let pulse = guest.pulse().unwrap();
    assert!(guest.pulse().is_none(), "there is one");
    let answer = async {
        let ToGuest::Ping { id } = fake.hear().await else { panic!("it is asked") };
        fake.say(ToHost::Pong { id }).await;
    };
    let (beats, ()) = tokio::join!(pulse.beats(SOON), answer);
    assert_eq!(beats, Some(true));
    assert_eq!(pulse.beats(Duration::from_millis(10)).await, Some(false));
    assert!(pulse.is_wanted());
    let mut process = guest.run(Command::default()).unwrap();
    pulse.give_up("it is silent".to_owned());
    assert!(timeout(SOON, process.next()).await.unwrap().is_none());
    assert_eq!((guest.closed().await.as_str(), guest.broke()), ("it is silent", false));
}

#[tokio::test]
async fn nobody_asks_a_guest_that_is_not_wanted() {
    let (guest, fake) = pair();
    let pulse = guest.pulse().unwrap();
    drop(guest);
    assert_eq!((pulse.is_wanted(), pulse.beats(SOON).await), (false, None));
    drop(fake);
}
