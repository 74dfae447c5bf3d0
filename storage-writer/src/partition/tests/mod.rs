//! Partitions in a small world of their own.

mod life;
mod pages;
mod resends;
mod world;
