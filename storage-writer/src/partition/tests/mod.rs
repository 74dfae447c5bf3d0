//! Partitions in a small world of their own.

mod account;
mod amendments;
mod groups;
mod life;
mod owned;
mod pages;
mod pins;
mod queued;
mod queued_lives;
mod replays;
mod resends;
mod world;
