//! The admin socket in the data folder: a Unix socket, mode 0600, that answers one line of request with one line of JSON.
//!
//! Only the owner of the folder can reach it, so it needs no token. Requests: `status`, `reload`,
//! `revoke USER [DEVICE]`, `backup FOLDER` (begins one), `backup-status`, `move-partition N WRITER`; an answer that is no is `{"error": "why"}`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schema::ids::{DeviceId, UserId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::operator::Operator;
use crate::state::ServerState;

/// The socket's name in the data folder.
pub const SOCKET_FILE: &str = "admin.sock";
/// Longest request line, bytes.
const REQUEST_BYTES: u64 = 8_192;
/// A client that says nothing for so long is closed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves the socket until the task is dropped. Replaces a socket that a killed server left.
///
/// # Errors
/// When the socket cannot be made.
pub async fn serve(folder: &Path, state: ServerState, operator: Operator) -> std::io::Result<()> {
    let path = folder.join(SOCKET_FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (state, operator) = (state.clone(), operator.clone());
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(REQUEST_TIMEOUT, answer(stream, state, operator)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin socket cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Removes the socket after a clean stop.
pub fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_file(folder.join(SOCKET_FILE)) {
        tracing::debug!(%error, "the admin socket stays");
    }
}

async fn answer(stream: UnixStream, state: ServerState, operator: Operator) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(REQUEST_BYTES)).read_line(&mut line).await?;
    // Files are read and written: not on the thread that serves HTTP.
    let answer = tokio::task::spawn_blocking(move || done(&line, &state, &operator)).await?;
    let answer = answer.unwrap_or_else(|error| serde_json::json!({ "error": error }).to_string());
    write.write_all(answer.as_bytes()).await?;
    write.write_all(b"\n").await
}

/// Does what a request asks for; its answer as JSON, or why there is none.
fn done(request: &str, state: &ServerState, operator: &Operator) -> Result<String, String> {
    if let Some(path) = request.strip_prefix("backup ") {
        let status = operator.backup(Path::new(path.trim_end_matches('\n')))?;
        return serde_json::to_string(&status).map_err(|error| error.to_string());
    }
    // A writer's name may have spaces.
    if let Some((partition, to)) = request.strip_prefix("move-partition ").and_then(|rest| rest.split_once(' ')) {
        let partition = partition.parse().map_err(|_| format!("{partition:?} is no partition's number"))?;
        let moved = operator.move_partition(partition, to.trim_end_matches('\n'))?;
        return serde_json::to_string(&moved).map_err(|error| error.to_string());
    }
    let words: Vec<&str> = request.split_whitespace().collect();
    let json = match words[..] {
        ["status"] => {
            let mut status = state.status();
            operator.add_to(&mut status);
            serde_json::to_string(&status)
        }
        ["reload"] => serde_json::to_string(&operator.reload().map_err(|error| error.to_string())?),
        ["backup-status"] => serde_json::to_string(&operator.backup_status()?),
        ["revoke", user, ref device @ ..] if device.len() <= 1 => {
            let user: UserId = user.parse().map_err(|_| format!("{user:?} is no user id"))?;
            let device = match device {
                [device] => Some(device.parse::<DeviceId>().map_err(|_| format!("{device:?} is no device id"))?),
                _ => None,
            };
            serde_json::to_string(&operator.revoke(user, device).map_err(|error| error.to_string())?)
        }
        _ => {
            return Err("unknown request; known: status, reload, revoke USER [DEVICE], backup FOLDER, backup-status, \
                        move-partition N WRITER"
                .to_owned());
        }
    };
    json.map_err(|error| error.to_string())
}

/// Why a running server could not be asked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AskError {
    /// Nobody listens there.
    #[error("no server answers at {path}: {source}", path = path.display())]
    #[diagnostic(help("is it running, and is --data the folder it was started with?"))]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It could not do it.
    #[error("the server says: {0}")]
    Refused(String),
    /// It answered something else.
    #[error("the server at {path} gave an answer this version does not understand: {detail}", path = path.display())]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What was wrong.
        detail: String,
    },
}

/// Has a running server do what the one-line `request` says. Blocks, at most 5 s.
///
/// # Errors
/// [`AskError`]; `Refused` when it could not.
pub fn ask<T: DeserializeOwned>(folder: &Path, request: &str) -> Result<T, AskError> {
    use std::io::{BufRead as _, Write as _};
    let path = folder.join(SOCKET_FILE);
    let unreachable = |source| AskError::Unreachable { path: path.clone(), source };
    let mut stream = std::os::unix::net::UnixStream::connect(&path).map_err(unreachable)?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT)).map_err(unreachable)?;
    stream.write_all(format!("{request}\n").as_bytes()).map_err(unreachable)?;
    let mut line = String::new();
    std::io::BufReader::new(stream).read_line(&mut line).map_err(unreachable)?;
    if let Ok(Refusal { error }) = serde_json::from_str(&line) {
        return Err(AskError::Refused(error));
    }
    serde_json::from_str(&line).map_err(|error| AskError::Answer { path: path.clone(), detail: error.to_string() })
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}
