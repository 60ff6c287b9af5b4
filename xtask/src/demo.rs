//! `cargo xtask demo`: from nothing to a call through two sidecars, on a real Kubernetes.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cluster::{Cluster, DEFAULT_NAME};
use crate::command::Program;
use crate::images::DEFAULT_TAG;
use crate::{product, progress};

const MANIFEST: &str = include_str!("demo/demo.yaml");
/// kube-proxy writes its rules about once a second.
const SERVICE_DEADLINE: Duration = Duration::from_secs(30);

/// Builds, installs, deploys, calls, and shows what happened. Can be run again.
pub(crate) fn run(name: &str) -> Result<()> {
    let started = Instant::now();
    let product = product::ensure()?;
    let cluster = Cluster::up(name)?;
    product::install(
        &cluster,
        &product,
        &["meshConfig.defaultConfig.accessLog=all"],
    )?;
    progress::step(
        "deploying a client, a server and a pod that opts out",
        || deploy(&cluster),
    )?;
    tell(&cluster, name)?;
    println!("\nThe demo took {:.0} s.", started.elapsed().as_secs_f64());
    Ok(())
}

fn deploy(cluster: &Cluster) -> Result<()> {
    // Pods of an earlier run were injected by an earlier build.
    cluster
        .kubectl([
            "delete",
            "namespace",
            "demo",
            "--ignore-not-found",
            "--wait",
        ])
        .run()?;
    cluster
        .kubectl(["apply", "--filename=-"])
        .input(MANIFEST.replace("VERSION", DEFAULT_TAG))
        .run()?;
    cluster
        .kubectl([
            "wait",
            "--namespace=demo",
            "--for=condition=Available",
            "deployment",
            "--all",
        ])
        .arg("--timeout=120s")
        .run()?;
    await_service(cluster)
}

/// Waits until the node leads the Service to the server, which it does a moment after the pod is ready.
fn await_service(cluster: &Cluster) -> Result<()> {
    let address = cluster
        .kubectl(["get", "service", "server", "--namespace=demo"])
        .arg("--output=jsonpath={.spec.clusterIP}:{.spec.ports[0].port}")
        .output()?;
    let target: SocketAddr = address
        .parse()
        .with_context(|| format!("{address} is no address"))?;
    let end = Instant::now() + SERVICE_DEADLINE;
    while let Err(error) = TcpStream::connect_timeout(&target, Duration::from_secs(1)) {
        if Instant::now() > end {
            return Err(error).with_context(|| format!("the Service at {target} leads nowhere"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Runs each command in front of the reader.
fn tell(cluster: &Cluster, name: &str) -> Result<()> {
    chapter("The pods: injected ones are 2/2, the one that opted out by annotation is 1/1");
    show(cluster.kubectl(["get", "pods", "--namespace=demo"]))?;

    chapter(
        "Their containers, init containers first; a restartable init container is a native sidecar",
    );
    show(cluster.kubectl([
        "get",
        "pods",
        "--namespace=demo",
        "--output=custom-columns=POD:.metadata.labels.app,INIT:.spec.initContainers[*].name,\
         CONTAINERS:.spec.containers[*].name",
    ]))?;

    chapter("The rules that istio-init programmed in the server's network namespace");
    let server = pod_name(cluster, "server")?;
    let process = cluster.container_process("demo", &server, "istio-proxy")?;
    for program in ["iptables", "ip6tables"] {
        let process = process.to_string();
        show(
            Program::new("nsenter")
                .args(["--net", "--target", &process, program, "-t", "nat", "-S"]),
        )?;
    }

    chapter("A call from the client through the Service");
    let call = [
        "exec",
        "--namespace=demo",
        "deployment/client",
        "--container=client",
        "--",
    ];
    let answer =
        show(
            cluster
                .kubectl(call)
                .args(["fairlead-testapp", "get", "http://server.demo/"]),
        )?;
    ensure!(
        answer.contains("hello from server"),
        "the server did not answer:\n{answer}"
    );
    println!("(127.0.0.6 is the address from which a sidecar calls its application.)");

    for app in ["client", "server"] {
        chapter(&format!("What the {app}'s sidecar logged of that call"));
        let pod = pod_name(cluster, app)?;
        show(cluster.kubectl([
            "logs",
            "--namespace=demo",
            &pod,
            "--container=istio-proxy",
            "--tail=3",
        ]))?;
    }

    chapter("What to try next");
    let shell = of_cluster("cargo xtask cluster shell", name);
    let down = of_cluster("cargo xtask cluster down", name);
    println!(
        "\
{shell:<41} kubectl and helm for this cluster; in it:
  fairlead-testapp runs in demo/client:   kubectl -n demo exec deploy/client -- fairlead-testapp get http://server/
  the proxy's own account:                kubectl -n demo exec deploy/server -c istio-proxy -- fairlead-proxy request GET /stats
  a failure explained:                    kubectl -n demo exec deploy/client -- fairlead-testapp get http://server:81/
                                          kubectl -n demo logs deploy/client -c istio-proxy --tail=1
  a bad annotation refused:               kubectl -n demo run bad --image=x --annotations=traffic.sidecar.istio.io/excludeInboundPorts=70000
{down:<41} removes everything"
    );
    Ok(())
}

/// A command for the cluster of this name.
fn of_cluster(command: &str, name: &str) -> String {
    if name == DEFAULT_NAME {
        return command.to_owned();
    }
    format!("{command} --name {name}")
}

fn chapter(title: &str) {
    println!("\n# {title}");
}

/// Prints the command as a reader would type it, and what it prints.
fn show(program: Program) -> Result<String> {
    let line = program.to_string();
    let short = line
        .rsplit_once("/kubectl ")
        .map_or(line.clone(), |(_, rest)| format!("kubectl {rest}"));
    println!("$ {short}");
    let output = program.output()?;
    print!("{output}");
    Ok(output)
}

fn pod_name(cluster: &Cluster, app: &str) -> Result<String> {
    let label = format!("app={app}");
    let name = cluster
        .kubectl(["get", "pods", "--namespace=demo", "--selector", &label])
        .args([
            "--field-selector=status.phase=Running",
            "--output=jsonpath={.items[0].metadata.name}",
        ])
        .output()
        .with_context(|| format!("find the pod of {app}"))?;
    ensure!(!name.is_empty(), "{app} has no running pod");
    Ok(name)
}
