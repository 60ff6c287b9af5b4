//! `fairlead check-inject`: does a pod get a sidecar, and why?
//!
//! Everything that decides is gathered first ([`cluster`], [`files`]); the answer is a function of it.
//!
//! - [`target`], [`subject`]: what is asked about
//! - [`facts`]: what is known of the webhooks and of the namespace
//! - [`world`], [`entry`]: which webhooks there are, and whether the API server asks one webhook
//! - [`mesh`], [`sidecar`]: whose webhook that is, what those of others answer, and what they leave
//! - [`own`]: what ours answers
//! - [`predict`], [`reason`], [`advice`]: what happens to the pod, why, and what would change it
//! - [`report`], [`text`]: the same for people and programs

mod advice;
mod cluster;
mod entry;
mod facts;
mod files;
#[cfg(test)]
mod kit;
mod mesh;
mod own;
mod predict;
mod reason;
mod report;
mod sidecar;
mod subject;
mod target;
mod text;
mod world;

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use fairlead_init::explain;
use kube::Client;
use serde::Serialize;
use tokio::time::timeout;

use self::{
    facts::Namespace,
    report::{Report, report},
    subject::Subject,
    target::Target,
    world::World,
};

/// Of all questions to the cluster together.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Args)]
pub(crate) struct Options {
    /// POD, or KIND/NAME: pod, deploy, sts, ds, rs, rc, job, cronjob or ns; default: the namespace.
    #[arg(num_args = 0..=2, value_name = "TARGET", conflicts_with = "selector")]
    target: Vec<String>,
    /// The namespace; default: that of the kubeconfig's context, or `default`.
    #[arg(long, short)]
    namespace: Option<String>,
    /// All pods with these labels.
    #[arg(long, short = 'l')]
    selector: Option<String>,
    /// The form of the answer.
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
    /// Ask no cluster: read configurations, namespaces, ConfigMaps and pods from this file.
    ///
    /// It may be given several times; - is the standard input. Without TARGET, all its pods and
    /// workloads are looked at, or, where it has none, its namespaces.
    #[arg(long, value_name = "FILE", conflicts_with = "selector")]
    from: Vec<String>,
    /// Show every entry also where there are several answers.
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// One answer.
enum Answer {
    /// About pods that there are, or that workloads make.
    Subjects(Vec<Report>),
    /// About the pods that a namespace may get.
    Namespace(Namespace, Vec<Report>),
}

/// Prints the answer; `false` if something is wrong.
///
/// # Errors
/// What is asked about is not there, or what decides cannot be read.
pub(crate) async fn run<E>(
    options: &Options,
    client: impl AsyncFnOnce() -> Result<Client, E>,
) -> anyhow::Result<bool>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let target = Target::parse(&options.target)?;
    let answers = if options.from.is_empty() {
        let client = client()
            .await
            .context("the webhooks are the cluster's; --from FILE reads them from a file")?;
        let asked = timeout(DEADLINE, from_cluster(&client, options, target)).await;
        vec![asked.map_err(|_| anyhow!("no answer of the cluster within {DEADLINE:?}"))??]
    } else {
        from_files(options, target.as_ref())?
    };
    io::stdout()
        .write_all(printed(&answers, options).as_bytes())
        .context("print the answer")?;
    Ok(answers
        .iter()
        .flat_map(Answer::reports)
        .all(|report| report.ok))
}

async fn from_cluster(
    client: &Client,
    options: &Options,
    target: Option<Target>,
) -> anyhow::Result<Answer> {
    let namespace = options.namespace.as_deref();
    let namespace = namespace.unwrap_or_else(|| client.default_namespace());
    let subjects = match (&options.selector, target) {
        (Some(selector), _) => cluster::selected(client, namespace, selector).await?,
        (None, Some(Target::Object { kind, name })) => {
            vec![cluster::subject(client, namespace, kind, &name).await?]
        }
        (None, target) => {
            let namespace = match &target {
                Some(Target::Namespace(name)) => name,
                _ => namespace,
            };
            let namespace = cluster::namespace(client, namespace).await?;
            let world = World::new(cluster::facts(client).await?);
            return Ok(of_namespace(&world, namespace));
        }
    };
    let namespace = cluster::namespace(client, namespace).await?;
    let world = World::new(cluster::facts(client).await?);
    let reports = subjects
        .iter()
        .map(|subject| report(&world, &namespace, subject));
    Ok(Answer::Subjects(reports.collect()))
}

fn from_files(options: &Options, target: Option<&Target>) -> anyhow::Result<Vec<Answer>> {
    let namespace = options.namespace.as_deref().unwrap_or("default");
    let mut files = files::read(&options.from, namespace)?;
    let world = World::new(std::mem::take(&mut files.facts));
    if let Some(Target::Namespace(name)) = target {
        return Ok(vec![of_namespace(&world, files.namespace(name))]);
    }
    let subjects = files.find(target, namespace)?;
    if !subjects.is_empty() {
        let reports = subjects
            .iter()
            .map(|subject| report(&world, &files.namespace(&subject.namespace), subject));
        return Ok(vec![Answer::Subjects(reports.collect())]);
    }
    let mut namespaces: Vec<Namespace> = files.namespaces().cloned().collect();
    if namespaces.is_empty() {
        namespaces.push(Namespace::named(namespace));
    }
    let namespaces = namespaces.into_iter();
    Ok(namespaces
        .map(|namespace| of_namespace(&world, namespace))
        .collect())
}

fn of_namespace(world: &World, namespace: Namespace) -> Answer {
    let subjects = Subject::of_namespace(&namespace, world);
    let reports = subjects
        .iter()
        .map(|subject| report(world, &namespace, subject));
    let reports = reports.collect();
    Answer::Namespace(namespace, reports)
}

impl Answer {
    fn reports(&self) -> &[Report] {
        match self {
            Self::Subjects(reports) | Self::Namespace(_, reports) => reports,
        }
    }
}

/// For programs.
#[derive(Serialize)]
struct Document<'a> {
    ok: bool,
    reports: Vec<&'a Report>,
}

fn printed(answers: &[Answer], options: &Options) -> String {
    if options.output == Output::Json {
        let reports: Vec<&Report> = answers.iter().flat_map(Answer::reports).collect();
        let ok = reports.iter().all(|report| report.ok);
        let document = serde_json::to_string_pretty(&Document { ok, reports });
        return document.expect("texts and lists have a JSON form") + "\n";
    }
    let text: Vec<String> = answers
        .iter()
        .map(|answer| match answer {
            Answer::Subjects(reports) => text::text(reports, options.verbose || reports.len() == 1),
            Answer::Namespace(namespace, reports) => {
                let labels: Vec<_> = namespace.own_labels().collect();
                text::table(&namespace.name, &labels, reports)
            }
        })
        .collect();
    // Annotations of others are repeated in it.
    explain::printable(&text.join("\n"))
}

#[cfg(test)]
mod tests;
