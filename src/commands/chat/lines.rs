//! The chat as plain lines, for pipes and scripts: what is read is sent, what comes is printed.
//!
//! On stdout one line a message, `#SEQ HH:MM WHO: TEXT`, and one a tick, `#SEQ delivered`; everything else on stderr. The end of
//! standard input ends the chat once everything sent has its answer.

use std::io::Write as _;

use miette::{IntoDiagnostic, Result};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::talk::{Change, Link, clock, printable};
use super::{Session, name, tick_word};

/// Longest line taken, bytes; the server's frame limit is checked by the client.
const LINE_BYTES: usize = 1 << 20;

pub(super) async fn run(mut session: Session) -> Result<()> {
    let seqs: Vec<u64> = session.talk.lines.keys().copied().collect();
    seqs.into_iter().try_for_each(|seq| print_line(&session, seq))?;
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let mut open = true;
    while open || session.talk.waiting.iter().any(|waiting| waiting.failed.is_none()) {
        tokio::select! {
            line = input.next_line(), if open => match line.into_diagnostic()? {
                None => open = false,
                Some(line) if line.is_empty() => {}
                Some(line) if line.len() > LINE_BYTES => eprintln!("not sent: a line has at most {LINE_BYTES} bytes"),
                Some(line) => {
                    if let Err(why) = session.send(&line).await {
                        eprintln!("not sent: {why}");
                    }
                }
            },
            event = session.client.next() => {
                if let Some(change) = session.event(event).await? {
                    print_change(&session, &change)?;
                }
            }
        }
    }
    session.client.close().await.into_diagnostic()
}

fn print_change(session: &Session, change: &Change) -> Result<()> {
    match change {
        Change::Line(seq) => print_line(session, *seq),
        Change::Tick(seq, tick) => print(&format!("#{seq} {}", tick_word(*tick))),
        Change::Failed(why) => {
            eprintln!("not sent: {why}");
            Ok(())
        }
        Change::Note(note) => {
            eprintln!("{note}");
            Ok(())
        }
        Change::Link => {
            match &session.talk.link {
                Link::Online => eprintln!("online"),
                Link::Connecting => eprintln!("connecting"),
                Link::Away { why, .. } => eprintln!("offline: {why}; trying again"),
            }
            Ok(())
        }
    }
}

fn print_line(session: &Session, seq: u64) -> Result<()> {
    let Some(line) = session.talk.lines.get(&seq) else { return Ok(()) };
    let text = printable(&line.text).replace('\n', "\n  ");
    print(&format!("#{seq} {} {}: {text}", clock(line.at_ms, &session.talk.zone), name(&session.talk, line.from)))
}

/// A reader that went away ends the chat with an error, not a panic.
fn print(line: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).into_diagnostic()
}
