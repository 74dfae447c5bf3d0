//! The admin socket in the data folder: a Unix socket, mode 0600, that answers one line of request with one line of JSON.
//!
//! Only the owner of the folder can reach it, so it needs no token. Requests: `status`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::state::ServerState;
use crate::status::Status;

/// The socket's name in the data folder.
pub const SOCKET_FILE: &str = "admin.sock";
/// Longest request line, bytes.
const REQUEST_BYTES: u64 = 256;
/// A client that says nothing for so long is closed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves the socket until the task is dropped. Replaces a socket that a killed server left.
///
/// # Errors
/// When the socket cannot be made.
pub async fn serve(folder: &Path, state: ServerState) -> std::io::Result<()> {
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
                let state = state.clone();
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(REQUEST_TIMEOUT, answer(stream, &state)).await;
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

async fn answer(stream: UnixStream, state: &ServerState) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(REQUEST_BYTES)).read_line(&mut line).await?;
    let answer = match line.trim() {
        "status" => serde_json::to_string(&state.status())?,
        _ => r#"{"error":"unknown request; known: status"}"#.to_owned(),
    };
    write.write_all(answer.as_bytes()).await?;
    write.write_all(b"\n").await
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
    /// It answered something else.
    #[error("the server at {path} gave an answer this version does not understand: {detail}", path = path.display())]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What was wrong.
        detail: String,
    },
}

/// Asks a running server for its status. Blocks, at most 5 s.
///
/// # Errors
/// [`AskError`].
pub fn ask_status(folder: &Path) -> Result<Status, AskError> {
    use std::io::{BufRead as _, Write as _};
    let path = folder.join(SOCKET_FILE);
    let unreachable = |source| AskError::Unreachable { path: path.clone(), source };
    let mut stream = std::os::unix::net::UnixStream::connect(&path).map_err(unreachable)?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT)).map_err(unreachable)?;
    stream.write_all(b"status\n").map_err(unreachable)?;
    let mut line = String::new();
    std::io::BufReader::new(stream).read_line(&mut line).map_err(unreachable)?;
    serde_json::from_str(&line).map_err(|error| AskError::Answer { path: path.clone(), detail: error.to_string() })
}
