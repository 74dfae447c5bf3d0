//! Partitions in a small world of their own.

mod life;
mod resends;
mod world;
