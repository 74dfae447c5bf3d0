//! The tables of the Scylla and Cassandra store: `schema/cql`, numbered, applied in order, never changed once released.

/// One step of the schema.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Migration {
    /// From 1, without holes. The schema's version is the highest applied.
    pub number: u16,
    /// Its file's name, without number and ending.
    pub name: &'static str,
    /// CQL statements, each ended by `;` at a line's end, that may be run again after a crash between two of them.
    pub text: &'static str,
}

/// What must be there before the first migration.
pub const BOOKKEEPING: &str = include_str!("../cql/0000_bookkeeping.cql");

/// All of them, in order.
pub const MIGRATIONS: [Migration; 3] = [
    Migration { number: 1, name: "store", text: include_str!("../cql/0001_store.cql") },
    Migration { number: 2, name: "many writers", text: include_str!("../cql/0002_many_writers.cql") },
    Migration { number: 3, name: "pinned chats", text: include_str!("../cql/0003_pinned_chats.cql") },
];

/// The version that this build reads and writes.
pub const VERSION: u16 = MIGRATIONS[MIGRATIONS.len() - 1].number;

/// The statements of a file, without comments.
pub fn statements(text: &str) -> impl Iterator<Item = String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let all = lines.join("\n");
    let statements: Vec<String> = all.split(";\n").map(|one| one.trim().trim_end_matches(';').to_owned()).collect();
    statements.into_iter().filter(|one| !one.is_empty())
}

impl Migration {
    /// Tells this text from any other that had its number (FNV-1a, 64 bits).
    pub fn checksum(&self) -> i64 {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        self.text.bytes().fold(0xcbf2_9ce4_8422_2325, step).cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_from_one_and_split_into_statements_that_may_be_repeated() {
        for (number, migration) in (1..).zip(MIGRATIONS) {
            assert_eq!(migration.number, number);
        }
        let texts = MIGRATIONS.iter().map(|migration| migration.text).chain([BOOKKEEPING]);
        let all: Vec<String> = texts.flat_map(statements).collect();
        assert_eq!(all.len(), 16);
        for statement in all {
            assert!(statement.starts_with("CREATE TABLE IF NOT EXISTS"), "{statement}");
            assert!(!statement.contains(';') && !statement.contains("--"), "{statement}");
        }
    }

    #[test]
    fn a_changed_file_has_another_checksum() {
        let mut changed = MIGRATIONS[0];
        changed.text = changed.text.split_at(changed.text.len() - 2).0;
        assert_ne!(changed.checksum(), MIGRATIONS[0].checksum());
    }
}
