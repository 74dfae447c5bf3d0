//! What the floor server (`limit`) does to frames: it finds fields by bounds-checked offsets and answers by patching
//! templates. No verification, no builder, no storage: what any server has to do to a message, and nothing else.
//! `benches/runtimes` has the same files on other skins.
pub mod conn;
pub mod forward;
pub mod groups;
pub mod table;
pub mod template;
