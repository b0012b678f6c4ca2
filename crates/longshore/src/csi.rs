//! `longshore csi`.

use anyhow::Result;

use crate::{cli::CsiArgs, process};

/// Serves the driver until it is told to stop.
pub(crate) async fn serve(args: CsiArgs) -> Result<()> {
    let config = hostpath::Config {
        pools: hostpath::Config::parse_pools(&args.datadir)?,
        endpoint: args.endpoint,
        driver_name: args.drivername,
        node_id: args.nodeid,
        version: args.version,
    };
    Ok(hostpath::serve(config, process::stop_requested()).await?)
}
