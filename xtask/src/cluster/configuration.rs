//! What the daemons of a cluster are told: pure text, made of its paths and addresses.

use std::path::Path;

use serde_json::json;

use super::network::Network;
use super::state::State;

/// The image that holds a pod's namespaces open. The name is Kubernetes' own, so tools know it for
/// what it is.
pub(crate) const PAUSE_IMAGE: &str = "registry.k8s.io/pause:3.10";

const COREDNS_MANIFEST: &str = include_str!("coredns.yaml");

/// A daemon: its name, which is also that of its program, and its arguments.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<String>,
}

/// The programs that run as long as the cluster does, in the order of starting.
pub(crate) const DAEMONS: [&str; 7] = [
    "etcd",
    "containerd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
];

/// How to run one of [`DAEMONS`].
pub(crate) fn daemon(
    name: &'static str,
    state: &State,
    network: Network,
    prefixed: &str,
) -> Daemon {
    let path = |relative: &str| state.path(relative).display().to_string();
    let kubeconfig = format!("--kubeconfig={}", state.kubeconfig(name).display());
    let node = network.node();
    let etcd = "http://127.0.0.1:2379";
    let services = format!("--service-cluster-ip-range={}", network.services());
    let arguments = match name {
        "etcd" => vec![
            format!("--data-dir={}", path("etcd")),
            format!("--listen-client-urls={etcd}"),
            format!("--advertise-client-urls={etcd}"),
            // The data does not outlive the cluster, so it need not survive a power cut.
            "--unsafe-no-fsync".to_owned(),
        ],
        "containerd" => vec![format!("--config={}", path("containerd.toml"))],
        "kube-apiserver" => vec![
            format!("--etcd-servers={etcd}"),
            format!("--advertise-address={node}"),
            services,
            format!("--tls-cert-file={}", path("pki/kube-apiserver.crt")),
            format!("--tls-private-key-file={}", path("pki/kube-apiserver.key")),
            format!("--client-ca-file={}", path("pki/ca.crt")),
            format!("--kubelet-client-certificate={}", path("pki/admin.crt")),
            format!("--kubelet-client-key={}", path("pki/admin.key")),
            format!("--kubelet-certificate-authority={}", path("pki/ca.crt")),
            // The node's name resolves nowhere.
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!(
                "--service-account-key-file={}",
                path("pki/service-accounts.pub")
            ),
            format!(
                "--service-account-signing-key-file={}",
                path("pki/service-accounts.key")
            ),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
        ],
        "kube-controller-manager" => vec![
            kubeconfig,
            services,
            format!(
                "--service-account-private-key-file={}",
                path("pki/service-accounts.key")
            ),
            format!("--root-ca-file={}", path("pki/ca.crt")),
            format!("--cluster-signing-cert-file={}", path("pki/ca.crt")),
            format!("--cluster-signing-key-file={}", path("pki/ca.key")),
            "--use-service-account-credentials=true".to_owned(),
            "--allocate-node-cidrs=false".to_owned(),
            "--leader-elect=false".to_owned(),
        ],
        "kube-scheduler" => vec![kubeconfig, "--leader-elect=false".to_owned()],
        "kubelet" => vec![
            kubeconfig,
            format!("--config={}", path("kubelet.json")),
            format!("--root-dir={}", path("kubelet")),
            format!("--hostname-override={prefixed}"),
            format!("--node-ip={node}"),
        ],
        _ => vec![
            kubeconfig,
            format!("--hostname-override={prefixed}"),
            format!("--cluster-cidr={}", network.pods()),
            "--proxy-mode=nftables".to_owned(),
            // The limit belongs to the whole machine, not to a network namespace.
            "--conntrack-max-per-core=0".to_owned(),
        ],
    };
    Daemon { name, arguments }
}

/// The configuration of containerd: everything it would keep in system directories goes to the
/// state.
pub(crate) fn containerd(state: &State, cni_programs: &Path) -> String {
    let path = |relative: &str| toml_string(&state.path(relative));
    format!(
        r#"version = 2
root = {root}
state = {run}

[grpc]
address = {socket}

[plugins."io.containerd.grpc.v1.cri"]
# Lowering a score needs CAP_SYS_RESOURCE, which root in a container may lack.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
sandbox_image = "{PAUSE_IMAGE}"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = {cni_programs}
conf_dir = {cni}

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"#,
        root = path("containerd"),
        run = path("containerd-run"),
        socket = toml_string(&state.containerd_socket()),
        cni_programs = toml_string(cni_programs),
        cni = path("cni"),
    )
}

/// The pod network. Each pod has a veth pair of its own to the node, which routes: with a bridge,
/// replies between pods would go past kube-proxy's rules on kernels without br_netfilter.
pub(crate) fn pod_network(state: &State, network: Network, prefixed: &str) -> String {
    json!({
        "cniVersion": "0.4.0",
        "name": prefixed,
        "plugins": [{
            "type": "ptp",
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "dataDir": state.path("cni-addresses"),
                "ranges": [[{"subnet": network.pods()}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
    .to_string()
}

/// The configuration of the kubelet. Whatever decides how fast a pod starts is left at its default.
pub(crate) fn kubelet(state: &State, network: Network, prefixed: &str) -> String {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": state.path("pki/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": state.path("pki/kubelet.crt"),
        "tlsPrivateKeyFile": state.path("pki/kubelet.key"),
        "containerRuntimeEndpoint": format!("unix://{}", state.containerd_socket().display()),
        // One control group for all of the cluster: two kubelets under one would remove each
        // other's pods, and killing what is in it ends every container.
        "cgroupRoot": format!("/{prefixed}"),
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": false,
        "failSwapOn": false,
        "clusterDNS": [network.dns_service()],
        "clusterDomain": "cluster.local",
        "resolvConf": state.path("resolv.conf"),
        "podLogsDir": state.path("pod-logs"),
        "volumePluginDir": state.path("volume-plugins"),
        "maxPods": 500,
        // A developer's disk is fuller than a node's, and images cannot be pulled again.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageMinimumGCAge": "24h",
    })
    .to_string()
}

/// CoreDNS with its rights and its Service.
pub(crate) fn coredns(network: Network) -> String {
    COREDNS_MANIFEST.replace("DNS_SERVICE_ADDRESS", &network.dns_service().to_string())
}

/// JSON's escapes are a subset of those of TOML's basic strings.
fn toml_string(path: &Path) -> String {
    json!(path).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::state::Name;

    fn network() -> Network {
        Network::of_slot(1).unwrap()
    }

    fn state() -> State {
        State::of(&Name::parse("dev").unwrap()).unwrap()
    }

    #[test]
    fn every_daemon_names_the_state_in_its_arguments() {
        // This is how leftovers of a killed run are found.
        let directory = format!("{}/", state().root().display());
        for name in DAEMONS {
            let daemon = daemon(name, &state(), network(), "fairlead-dev");
            assert!(
                daemon
                    .arguments
                    .iter()
                    .any(|argument| argument.contains(&directory)),
                "{daemon:?}"
            );
        }
    }

    #[test]
    fn clusters_in_other_slots_use_other_addresses() {
        assert!(coredns(network()).contains("clusterIP: 10.96.16.10"));
        assert!(!coredns(network()).contains("DNS_SERVICE_ADDRESS"));
        assert!(
            kubelet(&state(), network(), "fairlead-dev")
                .contains(r#""clusterDNS":["10.96.16.10"]"#)
        );
        assert!(pod_network(&state(), network(), "fairlead-dev").contains("10.244.8.0/21"));
    }

    #[test]
    fn paths_in_toml_are_quoted() {
        assert_eq!(toml_string(Path::new("/a \"b\"")), r#""/a \"b\"""#);
    }
}
