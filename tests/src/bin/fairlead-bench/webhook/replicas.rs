//! The processes of a webhook. The node is this machine, so that they are among ours.

use std::{fs, path::PathBuf};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};

use crate::process;

/// All processes of one program in the cluster's containers.
pub(super) struct Replicas {
    /// Their directories in `/proc`.
    processes: Vec<PathBuf>,
    /// The image of the first.
    pub(super) image: String,
}

impl Replicas {
    pub(super) async fn find(client: &Client, program: &str) -> anyhow::Result<Self> {
        let pods: Api<Pod> = Api::all(client.clone());
        let pods = pods
            .list(&ListParams::default())
            .await
            .context("list pods")?;
        let containers: Vec<(&str, &str)> = pods
            .iter()
            // One that is being replaced would end while it is measured.
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .filter_map(|pod| pod.status.as_ref())
            .flat_map(|status| status.container_statuses.iter().flatten())
            .filter_map(|container| {
                let (_, id) = container.container_id.as_deref()?.split_once("://")?;
                Some((id, container.image.as_str()))
            })
            .collect();
        let mut processes = Vec::new();
        let mut image = String::new();
        for entry in fs::read_dir("/proc").context("read /proc")? {
            let process = entry.context("read /proc")?.path();
            // Most processes are something else, and some end meanwhile.
            let read = |file| fs::read_to_string(process.join(file)).unwrap_or_default();
            let command = read("cmdline");
            let name = command
                .split('\0')
                .next()
                .and_then(|path| path.rsplit('/').next());
            if name != Some(program) {
                continue;
            }
            let groups = read("cgroup");
            let runs = containers.iter().find(|(id, _)| groups.contains(id));
            if let Some((_, of)) = runs {
                image = (*of).to_owned();
                processes.push(process);
            }
        }
        ensure!(
            !processes.is_empty(),
            "the cluster runs no {program} on this machine: is its chart installed?"
        );
        Ok(Self { processes, image })
    }

    /// Resident memory of each, in megabytes.
    pub(super) fn memory(&self) -> anyhow::Result<Vec<f64>> {
        self.read("status", |status| process::megabytes(status, "VmRSS"))
    }

    /// What all together have used of the processors.
    pub(super) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let ticks = self.read("stat", cpu_ticks)?;
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        Ok(ticks.iter().sum::<u64>() as f64 / per_second)
    }

    fn read<T>(&self, file: &str, parse: impl Fn(&str) -> Option<T>) -> anyhow::Result<Vec<T>> {
        let of = |process: &PathBuf| {
            let path = process.join(file);
            let text = fs::read_to_string(&path);
            let text =
                text.with_context(|| format!("read {}: did a replica end?", path.display()))?;
            parse(&text).with_context(|| format!("{} is not as expected", path.display()))
        };
        self.processes.iter().map(of).collect()
    }
}

/// Of user and system together, the fourteenth and fifteenth field of `/proc/PID/stat`. The second
/// is the program's name in parentheses, which may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "4711 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 70 8 0 0 20";
        assert_eq!(cpu_ticks(stat), Some(78));
        assert_eq!(cpu_ticks("4711 (a) S 1"), None);
    }
}
