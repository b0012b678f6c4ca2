//! The driver's unix socket.

use std::fs::{self, DirBuilder};
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use csi::{ControllerServer, IdentityServer, MAX_SOCKET_PATH, NodeServer};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use crate::config::{Config, ConfigError};
use crate::controller::Controller;
use crate::identity::Identity;
use crate::node::Node;
use crate::pool::{Pool, PoolError};

/// Why the driver could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It was told something wrong.
    #[error("the CSI driver's command line is wrong")]
    Config(#[from] ConfigError),
    /// A pool cannot be used.
    #[error("storage pool {name} cannot be used")]
    Pool {
        /// The pool.
        name: String,
        /// Why.
        source: PoolError,
    },
    /// The socket's path does not fit a unix socket address.
    #[error(
        "the socket path {path} is longer than {MAX_SOCKET_PATH} bytes; choose a shorter --endpoint"
    )]
    SocketTooLong {
        /// The path.
        path: PathBuf,
    },
    /// The socket's path is taken by something else.
    #[error("{path} exists and is not a socket; remove it or choose another --endpoint")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Another process answers at the socket.
    #[error("another process serves {path}; stop it or choose another --endpoint")]
    AlreadyServed {
        /// The path.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("cannot listen on {path}")]
    Listen {
        /// The path.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The server broke down.
    #[error("the CSI driver stopped serving")]
    Serve(#[from] tonic::transport::Error),
}

/// Serves the driver until `shutdown` completes, then answers the calls that are under way and
/// removes the socket.
///
/// Listening begins when the pools are open, so a driver that accepts connections is ready.
pub async fn serve(
    config: Config,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    config.check()?;
    let pools = open_pools(&config)?;
    let socket = config.socket()?;
    let listener = listen(&socket)?;
    tracing::info!(
        driver = config.driver_name,
        version = config.version,
        node = config.node_id,
        socket = %socket.display(),
        "serving"
    );
    let controller = Controller {
        node: config.node_id.clone(),
        pools: Arc::clone(&pools),
    };
    let node = Node {
        node: config.node_id,
        pools,
    };
    let identity = Identity {
        name: config.driver_name,
        version: config.version,
    };
    let served = Server::builder()
        .add_service(IdentityServer::new(identity))
        .add_service(ControllerServer::new(controller))
        .add_service(NodeServer::new(node))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), shutdown)
        .await;
    if let Err(error) = fs::remove_file(&socket) {
        tracing::debug!(socket = %socket.display(), %error, "the socket stays behind");
    }
    Ok(served?)
}

fn open_pools(config: &Config) -> Result<Arc<[Pool]>, ServeError> {
    config
        .pools
        .iter()
        .map(|pool| {
            Pool::open(pool).map_err(|source| ServeError::Pool {
                name: pool.name.clone(),
                source,
            })
        })
        .collect()
}

/// Listens for the owner of the process only. A socket that nobody serves any more is replaced.
fn listen(path: &Path) -> Result<UnixListener, ServeError> {
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(ServeError::SocketTooLong {
            path: path.to_owned(),
        });
    }
    let failed = |source| ServeError::Listen {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(parent)
            .map_err(failed)?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ServeError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(ServeError::AlreadyServed {
                path: path.to_owned(),
            });
        }
        Ok(_) => fs::remove_file(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}
