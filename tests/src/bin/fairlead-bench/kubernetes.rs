//! What the figures on a cluster share: the client, a namespace of each kind, one pod.

use std::{future::Future, time::Duration};

use anyhow::Context;
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, PostParams},
    config::KubeConfigOptions,
    runtime::wait::await_condition,
};
use serde_json::json;
use tokio::{runtime::Runtime, time::timeout};

use crate::table::Table;

/// The application in the pods; the node has it, so nothing is pulled.
const IMAGE: &str = concat!("fairlead/testapp:", env!("CARGO_PKG_VERSION"));

/// Longer than any single step on a loaded machine takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A connection to the cluster of KUBECONFIG.
pub(crate) struct Kubernetes {
    runtime: Runtime,
    client: Client,
}

impl Kubernetes {
    pub(crate) fn connect() -> anyhow::Result<Self> {
        let runtime = Runtime::new().context("start threads")?;
        // Only a second call fails, and then the same provider is there already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = runtime.block_on(async {
            let config = Config::from_kubeconfig(&KubeConfigOptions::default())
                .await
                .context("find the cluster: KUBECONFIG names none")?;
            anyhow::Ok(Client::try_from(config)?)
        })?;
        Ok(Self { runtime, client })
    }

    /// Runs a measurement in its namespaces, which it removes.
    pub(crate) fn run<F>(&self, work: impl FnOnce(Bench) -> F) -> anyhow::Result<Table>
    where
        F: Future<Output = anyhow::Result<Table>>,
    {
        self.runtime.block_on(async {
            let bench = Bench {
                client: self.client.clone(),
            };
            bench.create_namespaces().await?;
            let result = work(bench.clone()).await;
            bench.delete_namespaces().await?;
            let version = self.client.apiserver_version().await?.git_version;
            result.map(|mut table| {
                table.note(format!("Kubernetes {version}, one node, this machine."));
                table
            })
        })
    }
}

/// Whether a pod gets a sidecar, and whose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Plain,
    Injected,
    /// By an entry of the product's webhook that has no match conditions, where there is one.
    Unconditional,
    /// By an istiod of the revision `istio`, where one is installed.
    ByIstio,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [
        Self::Plain,
        Self::Injected,
        Self::Unconditional,
        Self::ByIstio,
    ];

    pub(crate) fn namespace(self) -> &'static str {
        match self {
            Self::Plain => "fairlead-bench-plain",
            Self::Injected => "fairlead-bench-injected",
            Self::Unconditional => "fairlead-bench-unconditional",
            Self::ByIstio => "fairlead-bench-by-istio",
        }
    }

    fn label(self) -> (&'static str, &'static str) {
        match self {
            Self::Plain => ("istio-injection", "disabled"),
            // Selected by its name.
            Self::Unconditional => ("istio-injection", "disabled"),
            Self::Injected => ("istio-injection", "enabled"),
            Self::ByIstio => ("istio.io/rev", "istio"),
        }
    }

    /// Whether a pod has become what it should.
    pub(crate) fn ensure(self, pod: &Pod) -> anyhow::Result<()> {
        let expected = match self {
            Self::Unconditional => Self::Injected,
            other => other,
        };
        let found = Self::of(pod);
        anyhow::ensure!(
            found == expected,
            "a pod that should be {expected:?} is {found:?}: is the chart of {self:?} installed?"
        );
        Ok(())
    }

    /// What became of a pod.
    fn of(pod: &Pod) -> Self {
        let spec = pod.spec.as_ref();
        let initial = spec.and_then(|spec| spec.init_containers.as_ref());
        let containers = spec.map(|spec| &spec.containers);
        let mut all = initial.into_iter().chain(containers).flatten();
        match all.find(|container| container.name == "istio-proxy") {
            None => Self::Plain,
            Some(proxy) => match proxy.image.as_deref() {
                Some(image) if image.contains("fairlead/") => Self::Injected,
                _ => Self::ByIstio,
            },
        }
    }
}

/// The namespaces.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) client: Client,
}

impl Bench {
    pub(crate) fn pods(&self, kind: Kind) -> Api<Pod> {
        Api::namespaced(self.client.clone(), kind.namespace())
    }

    async fn create_namespaces(&self) -> anyhow::Result<()> {
        // What a killed run left is in the way.
        self.delete_namespaces().await?;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for kind in Kind::ALL {
            let (key, value) = kind.label();
            let namespace = serde_json::from_value(json!({
                "metadata": { "name": kind.namespace(), "labels": { key: value } },
            }))?;
            namespaces
                .create(&PostParams::default(), &namespace)
                .await
                .with_context(|| format!("create namespace {}", kind.namespace()))?;
            // Pods are refused until the namespace has it.
            let accounts: Api<ServiceAccount> =
                Api::namespaced(self.client.clone(), kind.namespace());
            let exists = |account: Option<&ServiceAccount>| account.is_some();
            within(
                await_condition(accounts, "default", exists),
                "the service account",
            )
            .await??;
        }
        Ok(())
    }

    async fn delete_namespaces(&self) -> anyhow::Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for kind in Kind::ALL {
            let name = kind.namespace();
            let Some(namespace) = namespaces.get_opt(name).await? else {
                continue;
            };
            namespaces.delete(name, &DeleteParams::default()).await?;
            let uid = namespace.uid().unwrap_or_default();
            let gone = kube::runtime::conditions::is_deleted(&uid);
            let what = format!("the end of namespace {name}");
            within(await_condition(namespaces.clone(), name, gone), &what).await??;
        }
        Ok(())
    }
}

/// A pod as an application's author writes it.
pub(crate) fn pod(name: &str) -> anyhow::Result<Pod> {
    let pod = json!({
        "metadata": {"name": name, "labels": {"app": "bench"}},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": "application",
                "image": IMAGE,
                "imagePullPolicy": "IfNotPresent",
                "args": ["serve"],
                "ports": [{"containerPort": 8080}],
            }],
        },
    });
    serde_json::from_value(pod).context("the pod of the benchmark")
}

/// Waits no longer than anything should take.
pub(crate) async fn within<T>(work: impl Future<Output = T>, what: &str) -> anyhow::Result<T> {
    timeout(PATIENCE, work)
        .await
        .with_context(|| format!("waited {PATIENCE:?} for {what}"))
}
