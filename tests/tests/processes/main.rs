//! The real binary as a process, from outside: what a user, an operator or an attacker sees. Each file says what must hold.
//!
//! The binary is taken from `SHARDWIRE_BIN_DIR` or the target folder's `release`; `cargo xtask test --only processes` builds
//! and installs all that is needed.
#![allow(missing_docs)]

mod a_backup_goes_to_a_bucket_and_comes_back;
mod a_backup_is_restored_whole_or_to_a_point_in_time;
mod a_configuration_is_reloaded_whole_or_not_at_all;
mod a_conversation_is_amended_over_rest_and_websocket;
mod a_damaged_journal_is_cut_or_refused;
mod a_device_misses_and_doubles_nothing_over_dropped_connections;
mod a_drained_server_loses_nobody_and_nothing;
mod a_full_disk_stops_acks_and_recovers_by_itself;
mod a_group_lives_on_over_a_killed_server;
mod a_group_lives_over_rest_and_websocket;
mod a_killed_server_loses_nothing_it_acknowledged;
mod a_load_balancer_says_who_a_client_is;
mod a_load_of_groups_is_audited_at_every_member;
mod a_message_is_traced_across_roles;
mod a_message_on_its_way_to_a_router_that_is_cut_off_still_comes;
mod a_node_that_does_not_belong_stops_and_says_what_to_do;
mod a_token_ends_or_is_revoked_and_so_does_its_session;
mod a_typescript_client_keeps_what_the_rust_client_keeps;
mod an_absent_user_comes_back_to_every_message_once;
mod bad_input_hurts_only_its_sender;
mod every_listener_speaks_tls;
mod hosts_whose_packets_vanish_lose_nothing;
mod independent_clients_chat;
mod nodes_come_and_go_by_the_list_of_nodes;
mod remote_workers_share_a_run;
mod rest_does_what_its_description_says;
mod rest_sends_and_reads_what_sessions_do;
mod roles_as_processes_lose_nothing_when_one_is_killed;
mod the_command_line_keeps_its_promises;
mod the_doctor_says_what_a_host_lacks;
mod two_people_chat_in_terminals;
mod two_users_chat_in_a_browser_over_a_restart;
mod what_is_deployed_fits_the_server;
