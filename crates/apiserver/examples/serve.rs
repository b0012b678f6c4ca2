//! Serves a Kubernetes API on a loopback port until ctrl-c.
//!
//! ```sh
//! cargo run -p longshore-apiserver --example serve -- /tmp/api 127.0.0.1:7443
//! kubectl --kubeconfig /tmp/api/kubeconfig get namespaces
//! ```

use std::path::PathBuf;

use longshore_apiserver::ApiServer;
use longshore_apiserver::access::pki::Pki;
use longshore_apiserver::extend::Extensions;
use longshore_apiserver::server::Listener;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example talks to its user")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().unwrap_or_else(|| "api-data".into()));
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".into());

    let server = ApiServer::open(&dir, Extensions::default()).await?;
    let listener = Listener::bind(&address).await?;
    let pki = Pki::open(&dir.join("pki"), &[listener.address().ip().to_string()])?;
    let kubeconfig = dir.join("kubeconfig");
    pki.write_kubeconfig(&kubeconfig, &listener.url())?;
    println!(
        "ready: kubectl --kubeconfig {} get namespaces",
        kubeconfig.display()
    );

    let stop = async {
        // Without the signal there is nothing to wait for either.
        let _ = tokio::signal::ctrl_c().await;
    };
    listener.serve(server.clone(), &pki, stop).await?;
    server.close();
    Ok(())
}
