//! The store and the server on real Cassandra nodes, which the tests start. Each file says what must hold.
//!
//! `cargo xtask test --only engines` fetches Cassandra and runs these; the binaries are taken as by the process tests.
#![allow(missing_docs)]

mod a_keyspace_that_does_not_fit_stops_the_start;
mod a_server_on_cassandra_loses_nothing_it_acknowledged;
mod keyspace;
mod the_scylla_store_keeps_its_contract;
