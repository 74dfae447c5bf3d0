//! Frames that every reader refuses, each a valid one with one thing wrong: lengths, identifier, offsets, counts, cuts.

use schema::wire::{Body, EntryKind};

use super::valid::{frame, history_page, ping, send};
use super::{Reason, Vector, amendments, groups};

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// Where things are in a frame.
#[derive(Clone, Copy)]
struct Table {
    at: usize,
    vtable: usize,
}

impl Table {
    fn at(bytes: &[u8], at: usize) -> Self {
        let back = i32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        Self { at, vtable: (at as i64 - i64::from(back)) as usize }
    }

    fn root(bytes: &[u8]) -> Self {
        Self::at(bytes, 4 + u32_at(bytes, 4))
    }

    /// Where a field's value is; `slot` counts from 0.
    fn field(self, bytes: &[u8], slot: usize) -> usize {
        self.at + u16_at(bytes, self.slot(slot))
    }

    fn slot(self, slot: usize) -> usize {
        self.vtable + 4 + 2 * slot
    }

    /// What a field's offset points at.
    fn target(self, bytes: &[u8], slot: usize) -> usize {
        let field = self.field(bytes, slot);
        field + u32_at(bytes, field)
    }

    fn body(bytes: &[u8]) -> Self {
        Self::at(bytes, Self::root(bytes).target(bytes, 1))
    }
}

/// A send with one thing changed.
fn spoiled(spoil: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = send(b"b1", b"hello");
    spoil(&mut bytes);
    bytes
}

fn lengths() -> Vec<(&'static str, Vec<u8>)> {
    let len = (send(b"b1", b"hello").len() - 4) as u32;
    let mut longer = send(b"b1", b"hello");
    longer.extend_from_slice(&[0; 4]);
    vec![
        ("prefix_says_more", spoiled(|bytes| put32(bytes, 0, len + 1))),
        ("prefix_says_less", spoiled(|bytes| put32(bytes, 0, len - 1))),
        ("prefix_says_nothing", spoiled(|bytes| put32(bytes, 0, 0))),
        ("prefix_says_four_gigabytes", spoiled(|bytes| put32(bytes, 0, u32::MAX))),
        ("more_behind_the_frame", longer),
        ("nothing", Vec::new()),
        ("only_a_prefix", vec![8, 0, 0, 0]),
        ("prefix_and_root_only", vec![4, 0, 0, 0, 4, 0, 0, 0]),
    ]
}

fn identifiers() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("later_identifier", spoiled(|bytes| bytes[8..12].copy_from_slice(b"SWC2"))),
        ("identifier_of_an_envelope", spoiled(|bytes| bytes[8..12].copy_from_slice(b"SWE1"))),
        ("no_identifier", spoiled(|bytes| bytes[8..12].fill(0))),
        ("an_http_request", {
            let mut bytes = b"????GET /ws HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
            let len = (bytes.len() - 4) as u32;
            put32(&mut bytes, 0, len);
            bytes
        }),
    ]
}

fn offsets() -> Vec<(&'static str, Vec<u8>)> {
    let root = |value| spoiled(|bytes| put32(bytes, 4, value));
    let root_vtable = |value| {
        spoiled(|bytes| {
            let at = Table::root(bytes).at;
            put32(bytes, at, value);
        })
    };
    let vtable_len = |value| {
        spoiled(|bytes| {
            let at = Table::root(bytes).vtable;
            put16(bytes, at, value);
        })
    };
    vec![
        ("root_far_outside", root(0x7fff_fff0)),
        ("root_largest", root(u32::MAX)),
        ("root_just_outside", root(send(b"b1", b"hello").len() as u32 - 4)),
        ("root_misaligned", spoiled(|bytes| put32(bytes, 4, u32_at(bytes, 4) as u32 + 1))),
        ("vtable_far_before", root_vtable(0x7fff_fff0)),
        ("vtable_far_behind", root_vtable(0x8000_0010)),
        ("vtable_misaligned", {
            spoiled(|bytes| {
                let at = Table::root(bytes).at;
                put32(bytes, at, u32_at(bytes, at) as u32 + 1);
            })
        }),
        ("vtable_too_long", vtable_len(0xfffe)),
        ("vtable_of_odd_length", vtable_len(7)),
        ("field_outside_its_table", {
            spoiled(|bytes| {
                let at = Table::root(bytes).slot(1);
                put16(bytes, at, 0xfff0);
            })
        }),
        ("body_far_outside", {
            spoiled(|bytes| {
                let at = Table::root(bytes).field(bytes, 1);
                put32(bytes, at, 0x7fff_fff0);
            })
        }),
        ("uuid_over_the_end", {
            // Slot 1 of a send is its chat_id, 16 bytes in place.
            spoiled(|bytes| {
                let slot = Table::body(bytes).slot(1);
                let far = (bytes.len() - Table::body(bytes).at - 8) as u16;
                put16(bytes, slot, far);
            })
        }),
    ]
}

fn vectors_inside() -> Vec<(&'static str, Vec<u8>)> {
    let id_len = |value| {
        spoiled(|bytes| {
            let at = Table::body(bytes).target(bytes, 0);
            put32(bytes, at, value);
        })
    };
    vec![
        ("client_msg_id_longer_than_the_frame", id_len(1_000)),
        ("client_msg_id_of_four_gigabytes", id_len(u32::MAX)),
        ("content_far_outside", {
            spoiled(|bytes| {
                let at = Table::body(bytes).field(bytes, 5);
                put32(bytes, at, 0x7fff_fff0);
            })
        }),
        ("entries_longer_than_the_frame", {
            let mut bytes = history_page(2);
            let at = Table::body(&bytes).target(&bytes, 5);
            put32(&mut bytes, at, 1 << 29);
            bytes
        }),
        ("entry_is_its_own_vtable", {
            // The offset in the vector points at the vector's length: a table whose vtable is nowhere.
            let mut bytes = history_page(2);
            let at = Table::body(&bytes).target(&bytes, 5);
            put32(&mut bytes, at + 4, u32::MAX - 3);
            bytes
        }),
    ]
}

fn counts_and_kinds() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("kind_missing", {
            spoiled(|bytes| {
                let at = Table::root(bytes).slot(0);
                put16(bytes, at, 0);
            })
        }),
        ("body_missing", {
            spoiled(|bytes| {
                let at = Table::root(bytes).slot(1);
                put16(bytes, at, 0);
            })
        }),
        ("ping_that_says_send_ack", {
            // Its nonce, read as an offset, points nowhere.
            let mut bytes = ping(0x7fff_ffff_7fff_fff0);
            let at = Table::root(&bytes).field(&bytes, 0);
            bytes[at] = Body::SendAck.0;
            bytes
        }),
        ("page_of_seventeen_tables", history_page(15)),
        ("one_table_many_times", {
            // A vector of offsets that all point at one table: small bytes, much work.
            frame(Body::HistoryPage, |fbb| {
                use schema::wire::{EntryBytes, EntryBytesArgs, HistoryPage, HistoryPageArgs};
                let content = fbb.create_vector(&[1u8, 2, 3]);
                let one = EntryBytes::create(fbb, &EntryBytesArgs { frame: Some(content) });
                let entries = Some(fbb.create_vector(&[one; 2_000]));
                HistoryPage::create(fbb, &HistoryPageArgs { entries, ..HistoryPageArgs::default() }).as_union_value()
            })
        }),
    ]
}

/// Vectors of groups: `users` is slot 9 of a send, `members` slot 7 of a message's status.
fn vectors_of_groups() -> Vec<(&'static str, Vec<u8>)> {
    let users = |spoil: fn(&mut [u8], usize, usize)| {
        let mut bytes = groups::change(EntryKind::added, &[9, 11, 12]);
        let body = Table::body(&bytes);
        let (field, at) = (body.field(&bytes, 9), body.target(&bytes, 9));
        spoil(&mut bytes, field, at);
        bytes
    };
    vec![
        ("users_longer_than_the_frame", users(|bytes, _, at| put32(bytes, at, 1_000))),
        ("users_of_four_gigabytes", users(|bytes, _, at| put32(bytes, at, u32::MAX))),
        // Four bytes on, with a count that would fit.
        ("users_misaligned", {
            users(|bytes, field, at| {
                put32(bytes, field, (at - field) as u32 + 4);
                put32(bytes, at + 4, 1);
            })
        }),
        ("members_longer_than_the_frame", {
            let mut bytes = groups::status_of(2);
            let at = Table::body(&bytes).target(&bytes, 7);
            put32(&mut bytes, at, 1_000);
            bytes
        }),
    ]
}

/// Counts and offsets inside what is said of an account and of chats' settings.
fn vectors_of_accounts() -> Vec<(&'static str, Vec<u8>)> {
    let account = |spoil: fn(&mut [u8], Table)| {
        let mut bytes = amendments::account_of(&[("read_receipts", b"off")], 2);
        let body = Table::body(&bytes);
        spoil(&mut bytes, body);
        bytes
    };
    let first = |bytes: &[u8], body: Table, slot| {
        let items = body.target(bytes, slot) + 4;
        Table::at(bytes, items + u32_at(bytes, items))
    };
    vec![
        ("account_settings_longer_than_the_frame", account(|bytes, body| put32(bytes, body.target(bytes, 1), 1_000))),
        ("account_hidden_longer_than_the_frame", account(|bytes, body| put32(bytes, body.target(bytes, 3), 1_000))),
        ("account_hidden_of_four_gigabytes", account(|bytes, body| put32(bytes, body.target(bytes, 3), u32::MAX))),
        ("account_device_far_outside", account(|bytes, body| put32(bytes, body.target(bytes, 2) + 4, 1 << 20))),
        ("account_value_far_outside", {
            let mut bytes = amendments::account_of(&[("read_receipts", b"off")], 2);
            let at = first(&bytes, Table::body(&bytes), 1).field(&bytes, 1);
            put32(&mut bytes, at, 1 << 20);
            bytes
        }),
        ("account_device_name_longer_than_the_frame", {
            let mut bytes = amendments::account_of(&[], 0);
            let at = first(&bytes, Table::body(&bytes), 2).target(&bytes, 1);
            put32(&mut bytes, at, 1_000);
            bytes
        }),
        ("chats_muted_until_far_outside", {
            let mut bytes = amendments::chats_with_settings();
            let at = first(&bytes, Table::body(&bytes), 1).slot(3);
            put16(&mut bytes, at, 0xfff0);
            bytes
        }),
        ("key_longer_than_the_frame", {
            let mut bytes = amendments::setting();
            let at = Table::body(&bytes).target(&bytes, 14);
            put32(&mut bytes, at, 1_000);
            bytes
        }),
    ]
}

/// Cuts of a send, as they are and with a prefix that agrees.
fn cuts() -> Vec<Vector> {
    let whole = send(b"b1", b"hello");
    let mut out = Vec::new();
    for cut in [1, 3, 4, 8, 11, 12, 16, 20, whole.len() / 2, whole.len() - 4, whole.len() - 1] {
        let bytes = whole[..cut].to_vec();
        out.push(refused(format!("truncated_at_{cut}"), bytes, Reason::Length));
    }
    for cut in [12, 16, 20, whole.len() / 2] {
        let mut bytes = whole[..cut].to_vec();
        put32(&mut bytes, 0, cut as u32 - 4);
        out.push(refused(format!("truncated_at_{cut}_with_its_prefix"), bytes, Reason::Tables));
    }
    out
}

fn refused(name: String, bytes: Vec<u8>, reason: Reason) -> Vector {
    Vector { name, bytes, from_server: false, refused: Some(reason) }
}

/// All of them.
pub fn vectors() -> Vec<Vector> {
    let mut out = Vec::new();
    let groups = [
        (Reason::Length, lengths()),
        (Reason::Identifier, identifiers()),
        (Reason::Tables, offsets()),
        (Reason::Tables, vectors_inside()),
        (Reason::Tables, counts_and_kinds()),
        (Reason::Tables, vectors_of_groups()),
        (Reason::Tables, vectors_of_accounts()),
    ];
    for (reason, group) in groups {
        out.extend(group.into_iter().map(|(name, bytes)| refused(format!("hostile_{name}"), bytes, reason)));
    }
    for vector in &mut out {
        let of_server = ["one_table_many_times", "entr", "members", "account", "chats"];
        vector.from_server = of_server.iter().any(|part| vector.name.contains(part));
    }
    out.extend(cuts());
    out
}
