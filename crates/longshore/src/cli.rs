//! The command line, and its help.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

/// Import, keep and serve the disks of virtual machines, through the Kubernetes API.
///
/// `longshore up` serves it on this machine alone, without a cluster; any Kubernetes client can
/// then be used with the kubeconfig that it prints.
#[derive(Debug, Parser)]
#[command(
    name = "longshore",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    /// What to log, such as `info`, `debug` or `warn,longshore_image=debug`; logs go to standard
    /// error [default: `info` for workers, otherwise `warn`]
    #[arg(long, global = true, env = "LONGSHORE_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the Kubernetes API and run everything behind it, in the foreground.
    Up(UpArgs),
    /// Import a disk made of this machine's own files, and show each step.
    ///
    /// Everything happens in a temporary folder, which is removed at the end.
    Demo,
    /// Print the kubeconfig of a running `longshore up`.
    Kubeconfig(DataDir),
    /// Say whether `longshore up` runs, and what it holds.
    Status(DataDir),
    /// Write every object of the running `longshore up` to a file.
    ///
    /// A backup holds what the API serves, Secrets included, so the file is readable by its owner
    /// only. It does not hold the disks, nor the keys and certificates of the data folder.
    Backup(FileArgs),
    /// Make all objects as they were in a backup.
    ///
    /// Where `longshore up` runs on the data folder, what differs is changed through it, in one
    /// step and at new revisions, so that everything that watches follows. Where it does not run, the
    /// data folder is restored: a damaged database is kept beside the new one. The
    /// file is checked first; what is damaged or from another release changes nothing. Disks
    /// are left as they are.
    Restore(FileArgs),
    /// Print the CustomResourceDefinitions, as YAML, to install in a cluster.
    Crds,
    /// Run the reconcilers alone, against any Kubernetes API server.
    Controllers(ControllersArgs),
    /// Run the CSI driver for local storage on a node.
    Csi(CsiArgs),
    /// Do the work of a worker Pod.
    #[command(subcommand)]
    Worker(WorkerCommand),
    /// Build the sandbox of a Pod and run its program in it.
    #[command(name = "pod-init", hide = true)]
    PodInit,
}

/// Where Longshore keeps its state.
#[derive(Debug, Args)]
pub(crate) struct DataDir {
    /// Folder for objects, disks and keys [default: /var/lib/longshore for root, otherwise
    /// ~/.local/share/longshore]
    #[arg(long, env = "LONGSHORE_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// The backup.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) data_dir: DataDir,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) data_dir: DataDir,
    /// Address to serve the Kubernetes API on; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:7443", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// Number of nodes, each with a pool of its own.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) nodes: u16,
    /// Leave the reconcilers out, to run them by `longshore controllers`.
    #[arg(long, hide = true)]
    pub(crate) no_controllers: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ControllersArgs {
    /// How to reach the API server, and as whom.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub(crate) kubeconfig: PathBuf,
    /// Image of the worker Pods.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) worker_image: Option<String>,
}

/// The flags are those of the hostpath provisioner's driver.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub(crate) struct CsiArgs {
    /// Socket to serve, such as unix:///csi/csi.sock.
    #[arg(long, default_value = "unix://tmp/csi.sock", value_name = "URL")]
    pub(crate) endpoint: String,
    /// Name of the driver, the provisioner of its StorageClasses.
    #[arg(long, default_value = "hostpath.csi.kubevirt.io", value_name = "NAME")]
    pub(crate) drivername: String,
    /// Storage pools, as a JSON array of objects with `name` and `path`.
    #[arg(
        long,
        default_value = r#"[{"name":"legacy","path":"/csi-data-dir"}]"#,
        value_name = "JSON"
    )]
    pub(crate) datadir: String,
    /// Name of this node.
    #[arg(long, value_name = "NAME")]
    pub(crate) nodeid: String,
    /// Version that the driver gives itself.
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkerCommand {
    /// Fill a volume from a source; both are given in the environment, as to CDI's importer.
    Import,
}
