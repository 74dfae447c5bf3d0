//! Both ways of the translation, with the events as docs/PROTOCOL.md shows them.
