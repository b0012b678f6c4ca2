//! `longshore up`: everything on this machine, without a cluster.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use apiserver::{ApiServer, User, access::pki::Pki, extend::Extensions, server::Listener};
use futures::future::join_all;
use kube::Client;
use standalone::{
    Config, ControlPlane, NodeSocket,
    csi_client::driver_socket,
    node::{
        Agent, AgentConfig,
        logs::{Logs, PodLogs},
    },
};
use tokio::sync::watch;

use crate::{
    admission,
    cli::UpArgs,
    connect, install, output,
    process::{self, block_on},
};

/// Serves until it is told to stop.
pub(crate) fn run(args: &UpArgs) -> Result<()> {
    let dir = args.data_dir.path()?;
    prepare(&dir)?;
    // Before there are threads: what is mounted from here on vanishes with this process.
    sys::namespace::enter()?;
    block_on(serve(args, &dir))
}

/// Makes the data folder, and finds out whether it can be written.
fn prepare(dir: &Path) -> Result<()> {
    let unwritable = || {
        let dir = dir.display();
        format!("the data folder {dir} cannot be written: give another by --data-dir")
    };
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir);
    made.with_context(unwritable)?;
    let probe = dir.join(".writable");
    fs::write(&probe, "")
        .and_then(|()| fs::remove_file(&probe))
        .with_context(unwritable)
}

async fn serve(args: &UpArgs, dir: &Path) -> Result<()> {
    let listener = Listener::bind(&args.listen.to_string()).await?;
    let logs = Logs::new(dir);
    let extensions = Extensions::default()
        .admission(admission::Rules)
        .subresource(PodLogs::about(), PodLogs::new(logs.clone()));
    let server = ApiServer::open(dir, extensions).await?;
    let pki = Pki::open(&dir.join("pki"), &[args.listen.ip().to_string()])?;
    let url = listener.url();
    let kubeconfig = write_kubeconfig(dir, &pki.kubeconfig(&url))?;
    let root_ca = watch::Sender::new(pki.root_ca());
    let client = Client::new(server.service(User::system()), "default");
    install::crds(&client).await?;
    install::roles(&client).await?;
    let nodes: Vec<String> = (1..=args.nodes)
        .map(|number| format!("node-{number}"))
        .collect();
    let plane = ControlPlane::start(client.clone(), plane_config(dir, &nodes, &root_ca)).await?;
    let agents = agents(dir, &nodes, &client, listener.address(), &plane, &logs)?;

    let (stop, stopped) = watch::channel(false);
    let until_stopped = || {
        let mut stopped = stopped.clone();
        // An error means that the sender is gone, which is a stop as well.
        async move { drop(stopped.wait_for(|stop| *stop).await) }
    };
    let api = listener.serve(server.clone(), &pki, until_stopped());
    let agents = join_all(agents.into_iter().map(|agent| agent.run(until_stopped())));
    let controllers = async {
        if !args.no_controllers {
            controllers::run(client, controllers::Config::default(), until_stopped()).await;
        }
    };
    let renewals = tell_renewals(dir, &url, &pki, &root_ca, until_stopped());
    let told = async {
        let told = announce(&kubeconfig, &url);
        if told.is_ok() {
            process::stop_requested().await;
        }
        stop.send_replace(true);
        told
    };
    let plane = plane.run(until_stopped());
    let (served, (), _, (), (), told) =
        tokio::join!(api, plane, agents, controllers, renewals, told);
    server.close();
    served?;
    told
}

fn announce(kubeconfig: &Path, url: &str) -> Result<()> {
    output::line(format_args!("kubeconfig: {}", kubeconfig.display()))?;
    output::line(format_args!("listening: {url}"))?;
    Ok(output::line("longshore is ready")?)
}

/// Brings what is made of the certificates up to date whenever those are renewed.
async fn tell_renewals(
    dir: &Path,
    url: &str,
    pki: &Pki,
    root_ca: &watch::Sender<String>,
    stop: impl Future<Output = ()>,
) {
    let mut renewals = pki.renewals();
    let follow = async {
        while renewals.changed().await.is_ok() {
            if let Err(error) = write_kubeconfig(dir, &pki.kubeconfig(url)) {
                tracing::warn!("{error:#}");
            }
            root_ca.send_replace(pki.root_ca());
        }
    };
    tokio::select! {
        () = follow => {}
        () = stop => {}
    }
}

fn plane_config(dir: &Path, nodes: &[String], root_ca: &watch::Sender<String>) -> Config {
    let socket = |name: &String| NodeSocket {
        name: name.clone(),
        socket: driver_socket(dir, name),
    };
    Config {
        nodes: nodes.iter().map(socket).collect(),
        root_ca: Some(root_ca.subscribe()),
    }
}

fn agents(
    dir: &Path,
    nodes: &[String],
    client: &Client,
    listens_at: SocketAddr,
    plane: &ControlPlane,
    logs: &Logs,
) -> Result<Vec<Agent>> {
    let api = match listens_at {
        any if any.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, any.port()).into(),
        address => address,
    };
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    let agent = |(node_name, ordinal): (&String, u8)| {
        let config = AgentConfig {
            node_name: node_name.clone(),
            ordinal,
            data_dir: dir.to_owned(),
            program: program.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: Some(api),
        };
        Ok(Agent::new(
            config,
            client.clone(),
            plane.recorder(),
            logs.clone(),
        )?)
    };
    nodes.iter().zip(0..).map(agent).collect()
}

/// Writes the kubeconfig in one step, for its owner only.
fn write_kubeconfig(dir: &Path, text: &str) -> Result<PathBuf> {
    let path = dir.join(connect::KUBECONFIG);
    let new = dir.join(".kubeconfig.new");
    let write = || {
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        fs::rename(&new, &path)
    };
    write().with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}
