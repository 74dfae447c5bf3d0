//! The store and the server on real Cassandra nodes, the directory in real Redis servers, which the tests start. Each file says
//! what must hold.
//!
//! `cargo xtask test --only engines` fetches Cassandra, installs Redis and runs these; the binaries are taken as by the process tests.
#![allow(missing_docs)]

mod a_hot_group_has_a_partition_of_its_own_while_everybody_talks;
mod a_keyspace_that_does_not_fit_stops_the_start;
mod a_killed_router_knows_its_sessions_when_it_is_back;
mod a_partition_moves_under_a_chat;
mod a_process_alone_may_have_its_store_as_the_commit;
mod a_redis_that_does_not_fit_stops_the_start;
mod a_server_on_cassandra_loses_nothing_it_acknowledged;
mod keyspace;
mod redis_goes_and_comes_back_under_a_chat;
mod sends_are_queued_while_the_store_is_away;
mod several_writers_share_a_keyspace_and_none_undoes_anothers_work;
mod the_directory_in_redis_keeps_its_contract;
mod the_scylla_store_keeps_its_contract;
mod writers_that_share_a_store_take_over_from_each_other;
