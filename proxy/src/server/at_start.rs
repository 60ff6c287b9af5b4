//! What of a bootstrap is read when the process starts, and at no other time.

use std::hash::{DefaultHasher, Hash, Hasher};

use fairlead_xds::{
    bootstrap::Pieces,
    envoy::config::{
        bootstrap::v3::{Admin, LayeredRuntime, bootstrap::StatsFlush},
        metrics::v3::StatsConfig,
    },
    google::protobuf::Duration,
};

/// What was read, and is in use as long as the process runs.
#[derive(Debug)]
pub(super) struct AtStart {
    admin: Option<Admin>,
    stats_config: Option<StatsConfig>,
    layered_runtime: Option<LayeredRuntime>,
    stats_flush: Option<StatsFlush>,
    stats_flush_interval: Option<Duration>,
    /// They may be long, and keys.
    secrets: u64,
}

impl AtStart {
    /// What the process was started with.
    pub(super) fn of(pieces: &Pieces) -> Self {
        let bootstrap = &pieces.bootstrap;
        Self {
            admin: bootstrap.admin.clone(),
            stats_config: bootstrap.stats_config.clone(),
            layered_runtime: bootstrap.layered_runtime.clone(),
            stats_flush: bootstrap.stats_flush,
            stats_flush_interval: bootstrap.stats_flush_interval,
            secrets: hash(pieces),
        }
    }

    /// The fields of another bootstrap that say something else.
    pub(super) fn changed(&self, next: &Pieces) -> impl Iterator<Item = &'static str> {
        let bootstrap = &next.bootstrap;
        let fields = [
            ("admin", self.admin != bootstrap.admin),
            ("stats_config", self.stats_config != bootstrap.stats_config),
            (
                "layered_runtime",
                self.layered_runtime != bootstrap.layered_runtime,
            ),
            ("stats_flush", self.stats_flush != bootstrap.stats_flush),
            (
                "stats_flush_interval",
                self.stats_flush_interval != bootstrap.stats_flush_interval,
            ),
            ("static_resources.secrets", self.secrets != hash(next)),
        ];
        let changed = fields.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(field, _)| field)
    }
}

fn hash(pieces: &Pieces) -> u64 {
    let mut hasher = DefaultHasher::new();
    pieces.secrets.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use fairlead_xds::{
        bootstrap::read_pieces,
        read::{Format, UnknownFields},
    };

    use super::*;

    fn pieces(text: &str) -> Pieces {
        let read = read_pieces(text.as_bytes(), Format::Yaml, UnknownFields::Refuse);
        read.expect("a bootstrap").message
    }

    #[track_caller]
    fn check(started: &str, next: &str, expected: &[&str]) {
        let in_use = AtStart::of(&pieces(started));
        let changed: Vec<_> = in_use.changed(&pieces(next)).collect();
        assert_eq!(changed, expected, "{started} -> {next}");
    }

    #[test]
    fn what_differs_from_the_start_is_told_until_it_is_as_at_the_start() {
        let started = "{admin: {profile_path: /a}, static_resources: {secrets: [{name: a}]}}";
        check(started, started, &[]);
        let other = "{static_resources: {clusters: [{name: a}], secrets: [{name: a}]}}";
        check(started, other, &["admin"]);
        check(started, started, &[]);
        for (next, changed) in [
            ("{admin: {profile_path: /a}}", "admin"),
            ("{stats_config: {}}", "stats_config"),
            (
                "{layered_runtime: {layers: [{name: a, admin_layer: {}}]}}",
                "layered_runtime",
            ),
            ("{stats_flush_on_admin: true}", "stats_flush"),
            ("{stats_flush_interval: 1s}", "stats_flush_interval"),
            (
                "{static_resources: {secrets: [{name: b}]}}",
                "static_resources.secrets",
            ),
        ] {
            check("{node: {id: a}}", next, &[changed]);
            check(next, "{node: {id: a}}", &[changed]);
            check(next, next, &[]);
        }
    }
}
