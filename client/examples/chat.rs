//! Two users chat: `cargo run --example chat -- 127.0.0.1:7400 TOKEN PEER [STORE_DIR]`, once per user. What is typed is sent,
//! what comes is shown and confirmed. Tokens: `shardwire token --user 1 --device 1`.

use std::process::ExitCode;

use client::core::Event;
use client::driver::{Client, ClientError};
use client::store::FileStore;
use schema::ids::UserId;
use tokio::io::{AsyncBufReadExt, BufReader};

async fn chat(address: &str, token: &str, peer: UserId, folder: Option<&String>) -> Result<(), ClientError> {
    let mut builder = Client::builder().address(address).token(token);
    if let Some(folder) = folder {
        builder = builder.store(FileStore::open(folder)?);
    }
    let mut client = builder.connect().await?;
    eprintln!("user {} device {}: type to send to {peer}", client.user(), client.device());
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => drop(client.send(peer, line).await?),
                _ => return client.close().await,
            },
            event = client.next() => match event {
                Some(Event::Entry(entry)) => {
                    println!("{} #{}: {}", entry.sender(), entry.seq(), String::from_utf8_lossy(entry.body()));
                    client.mark_read(entry.chat(), entry.seq()).await?;
                }
                Some(Event::Sent { seq, .. }) => eprintln!("  sent as #{seq}"),
                Some(Event::Receipt { user, seq, status, .. }) => eprintln!("  {user} has up to #{seq} ({status:?})"),
                Some(Event::Disconnected { retry_in_ms, .. }) => eprintln!("  disconnected; again in {retry_in_ms} ms"),
                Some(Event::Failed { failure, .. }) => eprintln!("  failed: {failure}"),
                Some(Event::Ended(end)) => return Err(ClientError::Ended(end)),
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, token, peer, rest @ ..] = &args[..] else {
        eprintln!("usage: chat ADDRESS TOKEN PEER [STORE_DIR]");
        return ExitCode::from(2);
    };
    let Ok(peer) = peer.parse() else {
        eprintln!("PEER is a user id: a decimal number from 1");
        return ExitCode::from(2);
    };
    match chat(address, token, peer, rest.first()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
