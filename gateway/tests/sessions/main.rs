//! A gateway shard against a model of everything around it: its clients, owners and routers.

mod account;
mod ends;
mod harness;
mod holds;
mod model;
mod places;
mod property;
mod resume;
mod rules;
mod sends;
mod sync;
mod ways;
mod websocket;
