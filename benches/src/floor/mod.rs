//! What the floor server (`limit`) does to frames: it finds fields by bounds-checked offsets and answers by patching
//! templates. No verification, no builder, no storage: what any server has to do to a message, and nothing else.
pub mod table;
pub mod template;
