//! `shardwire dead-letters`: queued sends that were refused for good.
//!
//! They are files in the data folder, which a running server looks at too; nobody has to be asked.

use std::path::Path;

use fabric::disk::FileDisk;
use gateway::json::timestamp;
use miette::{IntoDiagnostic as _, Result, WrapErr as _, miette};
use schema::envelope::Body;
use serde::Serialize;
use storage_writer::folder::SPOOL_FOLDER;
use storage_writer::spool::letters::{self, Letter};

use super::{print, print_answer};
use crate::cli::{DeadLetters, DeadLettersArgs, Letters};

/// One of them, as it is shown: nothing of what it says.
#[derive(Debug, Serialize)]
struct Shown {
    number: String,
    queued_at: String,
    dead_at: String,
    /// The refusal's name, or `too_old`.
    reason: &'static str,
    user_id: String,
    device_id: u32,
    chat_id: String,
    kind: &'static str,
    body_bytes: usize,
}

impl Shown {
    fn of(letter: &Letter) -> Option<Self> {
        let Body::Send { frame, user, device, chat, .. } = &letter.send.body else { return None };
        let send = frame.root().body_as_send()?;
        Some(Self {
            number: number(letter.id),
            queued_at: timestamp(letter.queued_ms),
            dead_at: timestamp(letter.dead_ms),
            reason: letter.refused.map_or("too_old", |code| code.info().name),
            user_id: user.to_string(),
            device_id: device.0,
            chat_id: chat.to_string(),
            kind: send.kind().variant_name().unwrap_or("unknown"),
            body_bytes: send.body().map_or(0, |body| body.len()),
        })
    }
}

fn number(id: u64) -> String {
    format!("{id:016x}")
}

/// Lists, replays or drops them.
///
/// # Errors
/// Configuration, a folder that cannot be read or written, a number that is none.
pub fn run(args: &DeadLettersArgs) -> Result<()> {
    match &args.what {
        DeadLetters::List { server, json } => {
            let (letters, broken) = match open(&server.load()?.server.data)? {
                Some(disk) => letters::list(&disk).into_diagnostic()?,
                None => (Vec::new(), 0),
            };
            let shown: Vec<Shown> = letters.iter().filter_map(Shown::of).collect();
            print_answer(&shown, *json, |shown| table(shown))?;
            if broken > 0 {
                eprintln!("{broken} files are no whole letters: they are written again, or left by a crash");
            }
            Ok(())
        }
        DeadLetters::Replay(which) => each(which, "to be sent again", |disk, id| letters::replay(disk, id)),
        DeadLetters::Drop(which) => each(which, "dropped", |disk, id| letters::discard(disk, id)),
    }
}

/// The spool's folder, if there is one.
fn open(data: &Path) -> Result<Option<FileDisk>> {
    let folder = data.join(SPOOL_FOLDER);
    if !folder.is_dir() {
        return Ok(None);
    }
    let why = || format!("{} cannot be used", folder.display());
    FileDisk::open(&folder).into_diagnostic().wrap_err_with(why).map(Some)
}

fn each(which: &Letters, done: &str, act: impl Fn(&FileDisk, u64) -> std::io::Result<bool>) -> Result<()> {
    let data = which.server.load()?.server.data;
    let read =
        |text: &String| u64::from_str_radix(text, 16).map_err(|_| miette!("{text} is no number of a dead letter"));
    let mut ids: Vec<u64> = which.numbers.iter().map(read).collect::<Result<_>>()?;
    let disk = open(&data)?;
    if let Some(disk) = disk.as_ref().filter(|_| which.all) {
        ids = letters::list(disk).into_diagnostic()?.0.iter().map(|letter| letter.id).collect();
    }
    let mut missing = Vec::new();
    for &id in &ids {
        match disk.as_ref().map(|disk| act(disk, id)).transpose().into_diagnostic()? {
            Some(true) => print(&format!("{}: {done}\n", number(id)))?,
            _ => missing.push(number(id)),
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(miette!("there is no dead letter {}", missing.join(", "))) }
}

fn table(shown: &[Shown]) -> String {
    let mut text = String::new();
    for one in shown {
        let Shown { number, queued_at, reason, user_id, device_id, chat_id, kind, body_bytes, .. } = one;
        text.push_str(&format!(
            "{number}  queued {queued_at}  {reason}  user {user_id} device {device_id} to chat {chat_id}: {kind}, {body_bytes} bytes\n"
        ));
    }
    text.push_str(&format!("dead letters: {}\n", shown.len()));
    text
}
