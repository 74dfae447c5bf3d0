//! A session with the cluster: whom it asks, how long it waits, what it tries again. And whether the cluster can keep what
//! it is given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::cluster::metadata::Strategy;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::DefaultRetryPolicy;
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::statement::{Consistency, SerialConsistency};

use crate::ScyllaConfig;
use crate::error::SetupError;

/// A node that does not answer a connection within this is away.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked whether all nodes have taken a change of the schema.
const AGREEMENT_EVERY: Duration = Duration::from_millis(50);

/// Connects to the local datacenter: every request goes to a node that has what it asks for, wants its quorum, and may be
/// sent twice.
pub async fn connect(config: &ScyllaConfig) -> Result<Session, SetupError> {
    let spread = DefaultPolicy::builder()
        .prefer_datacenter(config.datacenter.clone())
        .permit_dc_failover(false)
        .token_aware(true)
        .build();
    let again = SimpleSpeculativeExecutionPolicy { max_retry_count: 1, retry_interval: config.speculate_after };
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .request_timeout(Some(config.request_timeout))
        .load_balancing_policy(spread)
        .retry_policy(Arc::new(DefaultRetryPolicy::new()))
        .speculative_execution_policy(Some(Arc::new(again)))
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.nodes)
        .connection_timeout(CONNECT_WITHIN)
        .schema_agreement_interval(AGREEMENT_EVERY)
        .default_execution_profile_handle(profile.into_handle());
    if let Some(credentials) = &config.credentials {
        builder = builder.user(&credentials.user, &credentials.password);
    }
    let session = builder
        .build()
        .await
        .map_err(|error| SetupError::Unreachable { nodes: config.nodes.join(", "), what: error.to_string() })?;
    check_nodes(&session, config)?;
    Ok(session)
}

/// Every datacenter has nodes for its copies.
fn check_nodes(session: &Session, config: &ScyllaConfig) -> Result<(), SetupError> {
    let mut nodes: BTreeMap<String, usize> = BTreeMap::new();
    for node in session.get_cluster_state().get_nodes_info() {
        *nodes.entry(node.datacenter.clone().unwrap_or_default()).or_default() += 1;
    }
    for (datacenter, &wanted) in &config.replication {
        let Some(&found) = nodes.get(datacenter) else {
            let found = nodes.keys().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            return Err(SetupError::NoSuchDatacenter { wanted: datacenter.clone(), found });
        };
        if (found as u64) < u64::from(wanted) {
            return Err(SetupError::TooFewNodes { datacenter: datacenter.clone(), wanted, found });
        }
    }
    Ok(())
}

/// The keyspace is there and keeps the copies that were configured. Returns whether it is there.
pub fn check_keyspace(session: &Session, config: &ScyllaConfig) -> Result<bool, SetupError> {
    let state = session.get_cluster_state();
    let Some(keyspace) = state.get_keyspace(&config.keyspace) else { return Ok(false) };
    for (datacenter, &wanted) in &config.replication {
        let found = match &keyspace.strategy {
            Strategy::NetworkTopologyStrategy { datacenter_repfactors: copies } => copies.get(datacenter).copied(),
            Strategy::SimpleStrategy { replication_factor } => Some(*replication_factor),
            _ => None,
        };
        let found = found.unwrap_or(0);
        if (found as u64) < u64::from(wanted) {
            let (keyspace, datacenter) = (config.keyspace.clone(), datacenter.clone());
            return Err(SetupError::Replication { keyspace, datacenter, wanted, found });
        }
    }
    Ok(true)
}
