//! What a node does, one piece at a time: runs a command in a Pod's sandbox.
//!
//! ```text
//! cargo run -p longshore-standalone --example node -- --user 107 --volume /srv:/data ls /data
//! ```
//!
//! It is also a program such as a node agent needs: it has the verbs `pod-init` and `csi`.
#![expect(
    clippy::print_stderr,
    reason = "a command says on standard error what went wrong"
)]

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use longshore_standalone::node::sandbox::{self, Sandbox, Spec, Started, Volume};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some(sandbox::VERB) => return sandbox::pod_init(),
        Some("csi") => serve_driver(&arguments[1..]),
        _ => run_command(arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// Runs a command as a container's program and exits as it does.
fn run_command(arguments: Vec<String>) -> Result<ExitCode> {
    sys::namespace::enter()?;
    let folder = tempfile::tempdir()?;
    let spec = parse(arguments, folder.path())?;
    Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let program = std::env::current_exe()?;
            let Started {
                mut sandbox,
                mut stdout,
                mut stderr,
            } = Sandbox::start(&program, &spec).await?;
            let (code, ..) = tokio::try_join!(
                sandbox.wait(),
                pass_on(&mut stdout, std::io::stdout()),
                pass_on(&mut stderr, std::io::stderr()),
            )?;
            Ok(ExitCode::from(u8::try_from(code)?))
        })
}

async fn pass_on(from: &mut (impl AsyncRead + Unpin), mut to: impl Write) -> std::io::Result<()> {
    let mut chunk = vec![0; 4096];
    loop {
        match from.read(&mut chunk).await? {
            0 => return to.flush(),
            length => to.write_all(&chunk[..length])?,
        }
    }
}

fn parse(arguments: Vec<String>, root: &std::path::Path) -> Result<Spec> {
    let mut spec = Spec {
        host_name: "sandbox".to_owned(),
        root: root.to_owned(),
        command: Vec::new(),
        environment: vec![("PATH".to_owned(), "/longshore/bin:/usr/bin:/bin".to_owned())],
        working_folder: "/".into(),
        user: 0,
        group: 0,
        groups: Vec::new(),
        root_capabilities: false,
        volumes: Vec::new(),
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--user" => {
                let id = arguments.next().ok_or("--user needs an id")?.parse()?;
                (spec.user, spec.group) = (id, id);
            }
            "--volume" => {
                let volume = arguments.next().ok_or("--volume needs SOURCE:TARGET")?;
                let (source, target) = volume.split_once(':').ok_or("not SOURCE:TARGET")?;
                let (source, target) = (source.into(), target.into());
                spec.volumes.push(Volume {
                    source,
                    part: PathBuf::new(),
                    target,
                    read_only: false,
                });
            }
            _ => {
                spec.command = std::iter::once(argument)
                    .chain(arguments.by_ref())
                    .collect();
            }
        }
    }
    Ok(spec)
}

/// The node's CSI driver, until the lifeline is cut.
fn serve_driver(flags: &[String]) -> Result<ExitCode> {
    let value = |name: &str| {
        let pair = flags.chunks(2).find(|pair| pair[0] == name);
        pair.and_then(|pair| pair.get(1))
            .cloned()
            .ok_or(format!("{name} is missing"))
    };
    let config = hostpath::Config {
        endpoint: value("--endpoint")?,
        driver_name: value("--drivername")?,
        node_id: value("--nodeid")?,
        version: value("--version")?,
        pools: hostpath::Config::parse_pools(&value("--datadir")?)?,
    };
    let (cut, is_cut) = oneshot::channel::<()>();
    sys::lifeline::watch(|| drop(cut))?;
    Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(hostpath::serve(config, async {
            let _ = is_cut.await;
        }))?;
    Ok(ExitCode::SUCCESS)
}
