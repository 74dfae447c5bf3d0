//! What an account log has come to, as a part of its chat's row.

use schema::encode::ChatSettings;
use schema::ids::{ChatId, DeviceId, MessageId};

use super::{BadRow, Reader, put_varint};
use crate::store::{AccountState, OwnDevice};

const PINNED: u8 = 1;
const ARCHIVED: u8 = 2;

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn bytes(reader: &mut Reader<'_>) -> Result<Vec<u8>, BadRow> {
    let len = reader.count(1)?;
    Ok(reader.take(len)?.to_vec())
}

pub(super) fn put_account(out: &mut Vec<u8>, account: &AccountState) {
    put_varint(out, account.settings.len() as u64);
    for (key, value) in &account.settings {
        put_bytes(out, key);
        put_bytes(out, value);
    }
    put_varint(out, account.chats.len() as u64);
    for (chat, set) in &account.chats {
        out.extend_from_slice(&chat.0);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(flag(set.pinned, PINNED) | flag(set.archived, ARCHIVED));
        // As one more, so that "for good" is 0 and "not muted" 1.
        put_varint(out, set.muted_until_ms.wrapping_add(1));
    }
    put_varint(out, account.devices.len() as u64);
    for (device, known) in &account.devices {
        put_varint(out, u64::from(device.0));
        put_bytes(out, &known.name);
        put_varint(out, known.named_ms);
        put_varint(out, known.revoked_ms);
    }
    put_varint(out, account.hidden.len() as u64);
    for (chat, messages) in &account.hidden {
        out.extend_from_slice(&chat.0);
        put_varint(out, messages.len() as u64);
        messages.iter().for_each(|message| out.extend_from_slice(&message.0));
    }
}

pub(super) fn account(reader: &mut Reader<'_>) -> Result<AccountState, BadRow> {
    let mut account = AccountState::default();
    for _ in 0..reader.count(2)? {
        let key = bytes(reader)?;
        account.settings.insert(key, bytes(reader)?);
    }
    for _ in 0..reader.count(18)? {
        let (chat, flags) = (ChatId(reader.array()?), reader.byte()?);
        if flags & !(PINNED | ARCHIVED) != 0 {
            return Err(BadRow("a chat's settings are unknown"));
        }
        let muted_until_ms = reader.varint()?.wrapping_sub(1);
        let (pinned, archived) = (flags & PINNED != 0, flags & ARCHIVED != 0);
        account.chats.insert(chat, ChatSettings { pinned, archived, muted_until_ms });
    }
    for _ in 0..reader.count(4)? {
        let device = u32::try_from(reader.varint()?).map_err(|_| BadRow("a device is not a u32"))?;
        let name = bytes(reader)?;
        let known = OwnDevice { name, named_ms: reader.varint()?, revoked_ms: reader.varint()? };
        account.devices.insert(DeviceId(device), known);
    }
    for _ in 0..reader.count(17)? {
        let chat = ChatId(reader.array()?);
        let count = reader.count(16)?;
        let messages = (0..count).map(|_| Ok(MessageId(reader.array()?))).collect::<Result<_, BadRow>>()?;
        account.hidden.insert(chat, messages);
    }
    Ok(account)
}
