//! Meeting an agent that is there already, at the other end of a serial line: `agent/resident.rs` of lvh-init.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, sleep};

use super::framing::{receive, send, skip_preamble};
use super::handshake::check_version;
use crate::guest::protocol::{MAGIC, MAX_ANSWER, MAX_WRITE, ToGuest, ToHost, encode};
use crate::guest::wire::malformed;

/// How long to wait for the answer to the first knock; for each further one twice as long.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest such time.
const LONGEST: Duration = Duration::from_secs(2);

/// How long an agent has for the answer that is slow with those before: each knock that does not wait for it would be one more to answer.
const SLOW: Duration = Duration::from_secs(30);

/// After so many knocks the agent may wait for the rest of what a host that was killed had begun to say: a message that is no longer than
/// one write.
const UNHEARD: u32 = 5;

/// Knocks until the agent has answered, for ever: its `uname -r`, and the ends of the line.
pub(crate) async fn knock(stream: UnixStream) -> io::Result<(OwnedReadHalf, OwnedWriteHalf, String)> {
    let (reader, mut writer) = stream.into_split();
    // Answers to others' knocks have other numbers.
    let first = RandomState::new().hash_one(std::process::id()) as u32;
    let mut hearing = pin!(hear(reader));
    for count in 0.. {
        let last = first.wrapping_add(count);
        if count == UNHEARD {
            writer.write_all(&[0xff; MAX_WRITE]).await?;
        }
        writer.write_all(MAGIC).await?;
        send(&mut writer, &encode(&ToGuest::Ping { id: last })).await?;
        let mut pause = pin!(sleep((PAUSE * (1 << count.min(8))).min(LONGEST)));
        loop {
            let (reader, answered, release) = tokio::select! {
                heard = &mut hearing => heard?,
                () = &mut pause => break,
            };
            // Nothing else of ours is under way, so the line is clear.
            if answered == last {
                return Ok((reader, writer, release));
            }
            if answered.wrapping_sub(first) < count {
                pause.as_mut().reset(Instant::now() + SLOW);
            }
            hearing.set(hear(reader));
        }
    }
    unreachable!("there is no last knock")
}

/// The next answer.
async fn hear(mut reader: OwnedReadHalf) -> io::Result<(OwnedReadHalf, u32, String)> {
    skip_preamble(&mut reader).await?;
    let Some(ToHost::Hello { version, release }) = receive(&mut reader, MAX_ANSWER).await? else {
        return Err(malformed("the agent did not begin with Hello"));
    };
    check_version(version)?;
    match receive(&mut reader, MAX_ANSWER).await? {
        Some(ToHost::Pong { id }) => Ok((reader, id, release)),
        _ => Err(malformed("the agent did not answer")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::guest::protocol::VERSION;

    /// The number of the next knock.
    async fn knocked(line: &mut OwnedReadHalf) -> u32 {
        let mut magic = [0; MAGIC.len()];
        line.read_exact(&mut magic).await.unwrap();
        assert_eq!(magic, *MAGIC);
        let mut message = vec![0; encode(&ToGuest::Ping { id: 0 }).len()];
        line.read_exact(&mut message).await.unwrap();
        let ToGuest::Ping { id } = crate::guest::protocol::decode(&message[4..]).unwrap() else {
            panic!("{message:?}")
        };
        id
    }

    fn answer(id: u32, version: u32) -> Vec<u8> {
        let hello = encode(&ToHost::Hello { version, release: "6.12".to_owned() });
        [&b"noise"[..], MAGIC, &hello, &encode(&ToHost::Pong { id })].concat()
    }

    #[tokio::test]
    async fn only_the_answer_to_the_last_knock_counts() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let met = tokio::spawn(knock(ours));
        let (mut reader, mut writer) = theirs.into_split();
        // Somebody else's, and one that came too late.
        let first = knocked(&mut reader).await;
        let mut last = knocked(&mut reader).await;
        assert_eq!(last, first.wrapping_add(1));
        for id in [first.wrapping_sub(7), first] {
            writer.write_all(&answer(id, VERSION)).await.unwrap();
        }
        // Who answers so late is waited for: at most one more was on its way.
        let mut more = 0;
        let further = async {
            loop {
                last = knocked(&mut reader).await;
                more += 1;
            }
        };
        tokio::time::timeout(LONGEST, further).await.unwrap_err();
        assert!(more < 2, "{more} knocks after a late answer");
        assert!(!met.is_finished());
        writer.write_all(&answer(last, VERSION)).await.unwrap();
        let (_reader, _writer, release) = met.await.unwrap().unwrap();
        assert_eq!(release, "6.12");
    }

    #[tokio::test]
    async fn an_agent_of_another_lvh_is_told() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&answer(0, VERSION + 1)).await.unwrap();
        let error = knock(ours).await.unwrap_err();
        assert_eq!(error.to_string(), format!("lvh-init speaks version {}, this program {VERSION}", VERSION + 1));
    }
}
