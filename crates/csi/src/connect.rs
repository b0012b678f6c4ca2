//! A client's connection to a driver's unix socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

/// The longest path of a unix socket in bytes: `sun_path` of unix(7) less its terminating zero.
pub const MAX_SOCKET_PATH: usize = 107;

/// How long a driver may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a path cannot be the address of a driver.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The path does not fit a unix socket address.
    #[error("the socket path {path} is longer than {MAX_SOCKET_PATH} bytes")]
    TooLong {
        /// The socket.
        path: PathBuf,
    },
    /// The path is not usable in an address.
    #[error("the socket path {path} must be absolute and UTF-8")]
    Unusable {
        /// The socket.
        path: PathBuf,
    },
    /// The path is not a valid address.
    #[error("the socket path {path} is no address")]
    Invalid {
        /// The socket.
        path: PathBuf,
        /// What the transport says.
        source: tonic::transport::Error,
    },
}

/// A connection to the driver that listens at `socket`. Must be called inside a Tokio runtime.
///
/// The connection is made by the first call and made anew after the driver was restarted; while
/// nobody listens, calls fail with `UNAVAILABLE`. Each call may take `timeout`. Clones share the
/// connection.
pub fn channel(socket: &Path, timeout: Duration) -> Result<Channel, AddressError> {
    let path = || socket.to_owned();
    if socket.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(AddressError::TooLong { path: path() });
    }
    let address = socket
        .to_str()
        .filter(|_| socket.is_absolute())
        .ok_or_else(|| AddressError::Unusable { path: path() })?;
    let endpoint = Endpoint::from_shared(format!("unix://{address}")).map_err(|source| {
        AddressError::Invalid {
            path: path(),
            source,
        }
    })?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .connect_lazy())
}
