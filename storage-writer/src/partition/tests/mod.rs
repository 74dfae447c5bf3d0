//! Partitions in a small world of their own.

mod life;
mod world;
