use std::process::{Output, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::Credentials;
use crate::{Error, Result};

/// The user under which a helper hands out an identity token (Docker's `credentials` package).
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks `docker-credential-HELPER get` for `server`; none where it knows no such server.
pub(super) async fn ask(helper: &str, server: &str, patience: Duration) -> Result<Option<Credentials>> {
    let program = format!("docker-credential-{helper}");
    let failed = |why: String| Error::Credentials { from: program.clone(), why };
    if helper.contains('/') {
        return Err(failed("the name of a helper has no slash".to_owned()));
    }
    let child = start(&program).map_err(|e| failed(format!("failed to start it: {e}")))?;
    let group = child.id();
    let output = match tokio::time::timeout(patience, talk(child, server)).await {
        Ok(output) => output.map_err(|e| failed(e.to_string()))?,
        Err(_elapsed) => {
            kill_group(group);
            return Err(failed(format!("it did not answer within {patience:?}")));
        }
    };
    read(&output).map_err(failed)
}

fn start(program: &str) -> std::io::Result<Child> {
    Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

async fn talk(mut child: Child, server: &str) -> std::io::Result<Output> {
    let mut stdin = child.stdin.take().expect("it is a pipe");
    // One that has gone already tells more by its output than by a broken pipe.
    let _ = stdin.write_all(server.as_bytes()).await;
    drop(stdin);
    child.wait_with_output().await
}

/// Ends what the helper started, too.
fn kill_group(leader: Option<u32>) {
    let pid = leader.and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
    let _ = pid.map(|pid| rustix::process::kill_process_group(pid, rustix::process::Signal::KILL));
}

fn read(output: &Output) -> std::result::Result<Option<Credentials>, String> {
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        // Helpers say it on standard output, in these words of Docker's library.
        if text.contains("credentials not found") {
            return Ok(None);
        }
        let words = format!("{} {}", text.trim(), String::from_utf8_lossy(&output.stderr).trim());
        return Err(format!("{}: {}", output.status, words.trim()));
    }
    let answer: Answer = serde_json::from_str(&text).map_err(|e| format!("its answer is not as agreed: {e}"))?;
    Ok(Some(match answer.username.as_str() {
        TOKEN_USER => Credentials::IdentityToken(answer.secret),
        _ => Credentials::Basic { user: answer.username, password: answer.secret },
    }))
}
