//! From a command to the code that carries it out.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tracing_subscriber::EnvFilter;

use crate::{
    backup,
    cli::{Cli, Command, WorkerCommand},
    controllers, crds, csi, demo, output,
    process::{block_on, end_on_terminate},
    status, up,
};

/// Carries out a command. What went wrong is one line on standard error.
pub(crate) fn run(cli: Cli) -> ExitCode {
    match start_logging(&cli).and_then(|()| dispatch(cli.command)) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be left to read it.
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("longshore: {error:#}\n"),
            );
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        // A sandbox is built by a process with one thread.
        Command::PodInit => return Ok(standalone::node::sandbox::pod_init()),
        Command::Worker(WorkerCommand::Import) => {
            end_on_terminate()?;
            return Ok(worker::import::main(None));
        }
        // Namespaces are entered before there are threads.
        Command::Up(args) => up::run(&args)?,
        Command::Demo => block_on(demo::run())?,
        Command::Kubeconfig(dir) => {
            let path = dir.kubeconfig()?;
            let text = std::fs::read_to_string(&path).with_context(|| {
                format!("there is no {}: start `longshore up` first", path.display())
            })?;
            output::line(text.trim_end())?;
        }
        Command::Status(dir) => block_on(status::print(&dir))?,
        Command::Backup(args) => block_on(backup::backup(args))?,
        Command::Restore(args) => block_on(backup::restore(args))?,
        Command::Crds => crds::print()?,
        Command::Controllers(args) => block_on(controllers::serve(args))?,
        Command::Csi(args) => block_on(csi::serve(args))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What a worker logs is what its user reads by `kubectl logs`.
fn default_filter(command: &Command) -> &'static str {
    match command {
        Command::Worker(_) => "info",
        _ => "warn",
    }
}

fn start_logging(cli: &Cli) -> Result<()> {
    if matches!(cli.command, Command::PodInit) {
        // Its output is that of the container, and its environment the container's concern.
        return Ok(());
    }
    let filter = cli.log.as_deref().unwrap_or(default_filter(&cli.command));
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("--log {filter} is no filter: use a level such as info"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
