//! QEMU's monitor: what QEMU itself knows of the VM's fate, and what can be asked of it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};

use crate::json::Value;

/// Why the machine no longer runs, as QEMU tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The accelerator cannot execute this guest.
    InternalError,
    /// The guest powered off, reset (as after a panic), or QEMU was told to quit; QEMU's own word for it.
    Shutdown(String),
}

/// What the monitor tells, and the way to ask it.
#[derive(Debug)]
pub(crate) struct Monitor {
    /// The first reason why the machine stopped.
    pub(crate) stop: watch::Receiver<Option<Stop>>,
    /// When it first said anything at all, as QEMU does when it has made the machine.
    pub(crate) greeted: Arc<OnceLock<Instant>>,
    /// How a migration goes, in QEMU's word.
    migration: watch::Receiver<String>,
    questions: mpsc::Sender<Question>,
}

/// A command, and where its answer goes.
#[derive(Debug)]
struct Question {
    command: Value,
    answer: oneshot::Sender<Value>,
}

/// What the reading task tells.
struct Told {
    stop: watch::Sender<Option<Stop>>,
    greeted: Arc<OnceLock<Instant>>,
    migration: watch::Sender<String>,
}

impl Monitor {
    /// Follows the monitor on `socket`.
    pub(crate) fn follow(socket: UnixStream) -> Self {
        let (stop_sender, stop) = watch::channel(None);
        let (migration_sender, migration) = watch::channel(String::new());
        let (questions, asked) = mpsc::channel(1);
        let greeted = Arc::default();
        let told = Told { stop: stop_sender, greeted: Arc::clone(&greeted), migration: migration_sender };
        tokio::spawn(async move {
            // The monitor closes when QEMU ends; what is left to know is in its exit status.
            let _ = read(socket, &told, asked).await;
        });
        Self { stop, greeted, migration, questions }
    }

    /// Has QEMU do something; gives its answer.
    ///
    /// # Errors
    /// `Unsupported` with QEMU's own words where it refuses, or that it is gone.
    pub(crate) async fn execute(&self, command: &str, arguments: Value) -> io::Result<Value> {
        let (answer, answered) = oneshot::channel();
        let command = Value::object([("execute", Value::text(command)), ("arguments", arguments)]);
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "QEMU has ended");
        self.questions.send(Question { command, answer }).await.map_err(|_closed| gone())?;
        let answer = answered.await.map_err(|_closed| gone())?;
        match answer.str_at(&["error", "desc"]) {
            Some(refusal) => Err(io::Error::new(io::ErrorKind::Unsupported, refusal.to_owned())),
            None => Ok(answer.get("return").cloned().unwrap_or(Value::Null)),
        }
    }

    /// Waits until a migration, of which QEMU tells events, has ended.
    ///
    /// # Errors
    /// It failed, or QEMU is gone.
    pub(crate) async fn migrated(&self) -> io::Result<()> {
        let mut migration = self.migration.clone();
        let ended = migration.wait_for(|status| status == "completed" || status == "failed").await;
        match ended.map_err(io::Error::other)?.as_str() {
            "completed" => Ok(()),
            _ => Err(io::Error::other("QEMU's migration failed")),
        }
    }
}

async fn read(socket: UnixStream, told: &Told, mut asked: mpsc::Receiver<Question>) -> io::Result<()> {
    let (reader, mut writer) = socket.into_split();
    writer.write_all(b"{\"execute\":\"qmp_capabilities\"}\n").await?;
    // Answers come in the order of the questions; nobody waits for some.
    let mut waiting: VecDeque<Option<oneshot::Sender<Value>>> = VecDeque::from([None]);
    let mut lines = BufReader::new(reader).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                let Ok(message) = Value::parse(&line) else { continue };
                if message.str_at(&["event"]) == Some("STOP") {
                    // Only the status tells a stop by the user from one by the accelerator.
                    writer.write_all(b"{\"execute\":\"query-status\"}\n").await?;
                    waiting.push_back(None);
                }
                told.hear(&message);
                if message.get("return").or(message.get("error")).is_some()
                    && let Some(Some(answer)) = waiting.pop_front()
                {
                    let _ = answer.send(message);
                }
            }
            Some(Question { command, answer }) = asked.recv() => {
                writer.write_all(format!("{command}\n").as_bytes()).await?;
                waiting.push_back(Some(answer));
            }
        }
    }
}

impl Told {
    fn hear(&self, message: &Value) {
        self.greeted.get_or_init(Instant::now);
        if message.str_at(&["event"]) == Some("MIGRATION") {
            self.migration.send_replace(message.str_at(&["data", "status"]).unwrap_or_default().to_owned());
        }
        if let Some(reason) = reason(message) {
            self.stop.send_if_modified(|stop| {
                let first = stop.is_none();
                stop.get_or_insert(reason);
                first
            });
        }
    }
}

fn reason(message: &Value) -> Option<Stop> {
    if message.str_at(&["event"]) == Some("SHUTDOWN") {
        return Some(Stop::Shutdown(message.str_at(&["data", "reason"]).unwrap_or("unknown").to_owned()));
    }
    (message.str_at(&["return", "status"]) == Some("internal-error")).then_some(Stop::InternalError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<Stop>) {
        assert_eq!(reason(&Value::parse(line).unwrap()), expected, "{line}");
    }

    #[test]
    fn reasons() {
        check(r#"{"return": {}}"#, None);
        check(r#"{"event": "STOP"}"#, None);
        check(r#"{"return": {"status": "paused", "running": false}}"#, None);
        check(r#"{"return": {"status": "internal-error", "running": false}}"#, Some(Stop::InternalError));
        let reset = r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#;
        check(reset, Some(Stop::Shutdown("guest-reset".to_owned())));
    }

    /// A QEMU that gives these lines, the first at once and each other one after a line of ours.
    async fn follow(lines: &'static [&'static str]) -> Monitor {
        let (ours, theirs) = UnixStream::pair().unwrap();
        tokio::spawn(async move {
            let (reader, mut writer) = theirs.into_split();
            let mut asked = BufReader::new(reader).lines();
            for line in lines {
                writer.write_all(format!("{line}\n").as_bytes()).await.unwrap();
                let _ = asked.next_line().await;
            }
        });
        Monitor::follow(ours)
    }

    #[tokio::test]
    async fn answers_find_their_questions() {
        let lines = &[
            r#"{"QMP": {}}"#,
            r#"{"return": {}}"#,
            r#"{"error": {"class": "GenericError", "desc": "no such thing"}}"#,
            "{\"event\": \"MIGRATION\", \"data\": {\"status\": \"completed\"}}\n{\"return\": 7}",
        ];
        let monitor = follow(lines).await;
        assert_eq!(monitor.execute("x", Value::object([])).await.unwrap_err().to_string(), "no such thing");
        assert_eq!(monitor.execute("y", Value::object([])).await.unwrap(), Value::Number("7".into()));
        monitor.migrated().await.unwrap();
        assert_eq!(monitor.execute("z", Value::object([])).await.unwrap_err().to_string(), "QEMU has ended");
    }
}
