//! How much all listeners take together (`envoy.config.overload.v3.OverloadManager`): of the resources
//! that Envoy watches, the number of downstream connections.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use fairlead_xds::envoy::{
    config::overload::v3::{OverloadManager, ResourceMonitor, resource_monitor::ConfigType},
    extensions::resource_monitors::downstream_connections::v3::DownstreamConnectionsConfig,
};

use crate::compile::At;

const CONNECTIONS: &str = "envoy.resource_monitors.global_downstream_max_connections";

/// As many as there are.
const UNLIMITED: u64 = u64::MAX;

/// What the message asks for: the most downstream connections that there may be, if it says so.
pub fn compile(at: &At<'_>, message: &OverloadManager) -> Option<u64> {
    let OverloadManager {
        resource_monitors,
        actions,
        loadshed_points,
        // Connections are counted as they come, not every so often.
        refresh_interval: _,
        // Buffers are counted by nobody here.
        buffer_factory_config: _,
    } = message;
    for (field, number) in [
        ("actions", actions.len()),
        ("loadshed_points", loadshed_points.len()),
    ] {
        if number > 0 {
            at.field(field).unsupported("are not taken");
        }
    }
    let mut limit = None;
    for (index, monitor) in resource_monitors.iter().enumerate() {
        let at = at.field("resource_monitors").index(index);
        let ResourceMonitor { name, config_type } = monitor;
        let earlier = resource_monitors[..index].iter();
        if earlier.clone().any(|other| other.name == *name) {
            at.field("name")
                .fault::<()>(format!("'{name}' is watched already"));
        } else if name == CONNECTIONS {
            limit = connections(&at, config_type.as_ref());
        } else {
            at.unsupported(format!("the resource '{name}' is not watched"));
        }
    }
    limit
}

fn connections(at: &At<'_>, config: Option<&ConfigType>) -> Option<u64> {
    let ConfigType::TypedConfig(any) = at.required("typed_config", config)?;
    let at = at.field("typed_config");
    let config = at.decode::<DownstreamConnectionsConfig>(any)?;
    match u64::try_from(config.max_active_downstream_connections) {
        Ok(most @ 1..) => Some(most),
        _ => at.field("max_active_downstream_connections").fault(format!(
            "{} is not accepted; 1 or more is",
            config.max_active_downstream_connections
        )),
    }
}

/// The downstream connections of all listeners that are limited.
#[derive(Debug)]
pub struct Connections {
    most: AtomicU64,
    active: AtomicU64,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            most: AtomicU64::new(UNLIMITED),
            active: AtomicU64::new(0),
        }
    }
}

/// A connection that counts until it is dropped.
#[derive(Debug)]
pub struct Counted(Arc<Connections>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// There are as many connections as there may be.
#[derive(Debug, Eq, PartialEq)]
pub struct Full {
    /// So many.
    pub most: u64,
}

impl Connections {
    /// Allows so many from now on; as many as come, if nothing is said. Those that came before there was
    /// a limit do not count.
    pub fn limit(&self, most: Option<u64>) {
        self.most
            .store(most.unwrap_or(UNLIMITED), Ordering::Relaxed);
    }

    /// One connection more; nothing, if nobody counts.
    ///
    /// # Errors
    /// There are too many.
    pub fn enter(self: &Arc<Self>) -> Result<Option<Counted>, Full> {
        let most = self.most.load(Ordering::Relaxed);
        if most == UNLIMITED {
            return Ok(None);
        }
        let before = self.active.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(self.clone());
        if before < most {
            Ok(Some(counted))
        } else {
            Err(Full { most })
        }
    }
}

#[cfg(test)]
mod tests {
    use fairlead_xds::read::{Format, UnknownFields, read_message};

    use super::*;
    use crate::compile::Findings;

    fn compiled(text: &str) -> (Option<u64>, Vec<String>, usize) {
        let read =
            read_message::<OverloadManager>(text.as_bytes(), Format::Yaml, UnknownFields::Refuse);
        let findings = Findings::default();
        let most = compile(&findings.at("overload_manager"), &read.unwrap().message);
        let faults = findings.faults().iter().map(ToString::to_string).collect();
        (most, faults, findings.unsupported().len())
    }

    fn monitor(most: i64) -> String {
        format!(
            "{{name: {CONNECTIONS}, typed_config: {{'@type': type.googleapis.com/envoy.extensions.\
             resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig, \
             max_active_downstream_connections: {most}}}}}"
        )
    }

    #[test]
    fn the_connections_of_all_listeners_are_limited() {
        let one = format!("resource_monitors: [{}]", monitor(3));
        assert_eq!(compiled(&one), (Some(3), vec![], 0));
        let others = "{resource_monitors: [{name: envoy.resource_monitors.fixed_heap}], actions: \
                      [{name: envoy.overload_actions.stop_accepting_connections, triggers: [{name: a, \
                      threshold: {value: 0.9}}]}]}";
        assert_eq!(compiled(others), (None, vec![], 2));
    }

    #[test]
    fn a_resource_that_is_watched_twice_is_told() {
        let twice = format!("resource_monitors: [{}, {}]", monitor(3), monitor(4));
        let fault = "overload_manager.resource_monitors[1].name: \
                     'envoy.resource_monitors.global_downstream_max_connections' is watched already";
        assert_eq!(compiled(&twice).1, [fault]);
    }

    #[test]
    fn a_connection_counts_until_it_ends() {
        let connections = Arc::new(Connections::default());
        assert!(connections.enter().unwrap().is_none());
        connections.limit(Some(2));
        let [first, _second] = [(); 2].map(|()| connections.enter().unwrap().unwrap());
        assert_eq!(connections.enter().unwrap_err(), Full { most: 2 });
        drop(first);
        assert!(connections.enter().unwrap().is_some());
    }
}
