//! The agent's side of a sandbox.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use super::{MAX_LINE, Reply, Spec, TERMINATE, VERB};

/// Why a container did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The parent process could not be started.
    #[error("cannot start {program}")]
    Spawn {
        /// This program.
        program: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The conversation with the parent process broke.
    #[error("the container's parent process does not answer")]
    Conversation {
        /// How.
        source: io::Error,
    },
    /// The sandbox or the program in it could not be started.
    #[error("{message}")]
    Refused {
        /// What failed and why.
        message: String,
    },
}

/// A container whose program runs. Dropping it kills the container.
#[derive(Debug)]
pub struct Sandbox {
    parent: Child,
    control: Option<OwnedWriteHalf>,
}

/// A container that has just started, and what it says.
#[derive(Debug)]
pub struct Started {
    /// The container.
    pub sandbox: Sandbox,
    /// Its standard output.
    pub stdout: ChildStdout,
    /// Its standard error.
    pub stderr: ChildStderr,
}

impl Sandbox {
    /// Starts a container; `program` understands [`VERB`]. Returns when the container's program
    /// runs.
    ///
    /// # Errors
    /// [`StartError`]; nothing of the container is left then.
    pub async fn start(program: &Path, spec: &Spec) -> Result<Started, StartError> {
        let spawn = |source| StartError::Spawn {
            program: program.to_owned(),
            source,
        };
        let (ours, theirs) = StdUnixStream::pair().map_err(spawn)?;
        ours.set_nonblocking(true).map_err(spawn)?;
        let ours = UnixStream::from_std(ours).map_err(spawn)?;
        let mut parent = Command::new(program)
            .arg(VERB)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What interrupts the agent at its terminal is for the agent to pass on.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(spawn)?;
        let pipes = parent.stdout.take().zip(parent.stderr.take());
        let Some((stdout, stderr)) = pipes else {
            return Err(spawn(io::ErrorKind::BrokenPipe.into()));
        };
        let control = converse(ours, spec)
            .await
            .map_err(|source| StartError::Conversation { source })??;
        Ok(Started {
            sandbox: Self {
                parent,
                control: Some(control),
            },
            stdout,
            stderr,
        })
    }

    /// Asks the container's program to end.
    pub async fn terminate(&mut self) {
        if let Some(control) = &mut self.control {
            // It fails only when the container has ended already.
            let _ = control.write_all(&[TERMINATE]).await;
        }
    }

    /// Kills the container with everything in it.
    pub fn kill(&mut self) {
        self.control = None;
    }

    /// Waits for the end of the container's program: its exit code, or 128 and the number of the
    /// signal that killed it.
    pub async fn wait(&mut self) -> io::Result<i32> {
        let status = self.parent.wait().await?;
        Ok(status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal))
            .unwrap_or(-1))
    }
}

/// Sends the description, reads the reply, and returns the sending side for what is to come.
async fn converse(
    socket: UnixStream,
    spec: &Spec,
) -> io::Result<Result<OwnedWriteHalf, StartError>> {
    let (receiver, mut sender) = socket.into_split();
    let mut line = serde_json::to_vec(spec)?;
    line.push(b'\n');
    sender.write_all(&line).await?;
    let mut answer = Vec::new();
    BufReader::new(receiver.take(MAX_LINE))
        .read_until(b'\n', &mut answer)
        .await?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(match serde_json::from_slice(&answer)? {
        Reply::Started => Ok(sender),
        Reply::Failed { message } => Err(StartError::Refused { message }),
    })
}
