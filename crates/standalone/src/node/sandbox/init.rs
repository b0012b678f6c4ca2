//! The verb `pod-init`: the parent of a container, and process 1 inside.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{Pid, Signal};
use rustix::thread::CapabilitySet;
use sys::namespace::{self, IdMap, Kinds};
use sys::process::{Become, Identity, Side};

use super::root::{self, RootError};
use super::{MAX_LINE, Reply, Spec, TERMINATE};

/// What root of a container may do: use files of every owner, give them away, and become other
/// users.
const ROOT_CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::NET_BIND_SERVICE);

/// The exit status when the container's program did not run; the reply says why.
const NOT_STARTED: u8 = 125;

/// The exit status of a killed container: 128 and SIGKILL.
const KILLED: i32 = 137;

/// Why a container's program does not run.
#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error("cannot read what to run")]
    Read(#[source] io::Error),
    #[error("what to run is not understood")]
    Understand(#[source] serde_json::Error),
    #[error("there is no command to run")]
    NoCommand,
    #[error("cannot separate the container from its parent")]
    Namespaces(#[source] io::Error),
    #[error("cannot make the container's first process")]
    Fork(#[source] io::Error),
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("cannot choose the container's user")]
    User(#[source] io::Error),
    #[error("cannot start {program:?}")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot watch over the container's program")]
    Watch(#[source] io::Error),
}

/// Runs one container, described on standard input, and returns its exit status. Call it at the
/// start of a process with one thread; standard output and standard error are the container's.
pub fn pod_init() -> ExitCode {
    let Ok(control) = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(UnixStream::from)
    else {
        return NOT_STARTED.into();
    };
    match contain(&control) {
        Ok(status) => status.into(),
        Err(error) => {
            let message = sentence(&error);
            // The agent may be gone; then nobody waits for the reply.
            let _ = reply(&control, &Reply::Failed { message });
            NOT_STARTED.into()
        }
    }
}

/// The error with its causes.
fn sentence(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", sentence(cause)),
        None => error.to_string(),
    }
}

fn reply(mut control: &UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    control.write_all(&line)
}

/// Both processes come out of here: the parent with the status of the child, the child with that of
/// the program.
fn contain(control: &UnixStream) -> Result<u8, InitError> {
    let spec = read_spec(control)?;
    let kinds = Kinds {
        mounts: true,
        processes: true,
        ipc: true,
        host_name: true,
        users: false,
    };
    namespace::separate(kinds).map_err(InitError::Namespaces)?;
    match sys::process::fork().map_err(InitError::Fork)? {
        Side::Parent(child) => sys::process::wait_for(child).map_err(InitError::Watch),
        Side::Child => run(control, &spec),
    }
}

fn read_spec(control: &UnixStream) -> Result<Spec, InitError> {
    let mut line = Vec::new();
    // Nothing follows the line until the reply is sent, so the buffer takes nothing that belongs to
    // others.
    BufReader::new(control.take(MAX_LINE))
        .read_until(b'\n', &mut line)
        .map_err(InitError::Read)?;
    serde_json::from_slice(&line).map_err(InitError::Understand)
}

/// Process 1 of the container.
fn run(control: &UnixStream, spec: &Spec) -> Result<u8, InitError> {
    // The parent stands outside this pid namespace, where it has no number.
    sys::process::die_with(None).map_err(InitError::Namespaces)?;
    // The agent's terminal is not the container's: not to read from, not to be interrupted by.
    rustix::process::setsid().map_err(|error| InitError::Namespaces(error.into()))?;
    let identity = identity(spec).map_err(InitError::User)?;
    root::build(spec)?;
    rustix::system::sethostname(spec.host_name.as_bytes())
        .map_err(|error| InitError::Namespaces(error.into()))?;
    let program = start(spec, identity)?;
    let listener = control.try_clone().map_err(InitError::Watch)?;
    std::thread::Builder::new()
        .spawn(move || listen(&listener, program))
        .map_err(InitError::Watch)?;
    reply(control, &Reply::Started).map_err(InitError::Watch)?;
    sys::process::wait_for(program).map_err(InitError::Watch)
}

/// The container's user; in a user namespace of its own where this one does not know the ids.
fn identity(spec: &Spec) -> io::Result<Identity> {
    let user = if namespace::can_become(spec.user, spec.group)? {
        Become::User {
            user: spec.user,
            group: spec.group,
            groups: spec.groups.clone(),
        }
    } else {
        let (outer_user, outer_group) = (rustix::process::geteuid(), rustix::process::getegid());
        let map = IdMap {
            user: (spec.user, outer_user.as_raw()),
            group: (spec.group, outer_group.as_raw()),
        };
        Become::Mapped {
            map,
            processes: namespace::open_process_list()?,
        }
    };
    let capabilities = if spec.root_capabilities {
        ROOT_CAPABILITIES
    } else {
        CapabilitySet::empty()
    };
    Ok(Identity { user, capabilities })
}

fn start(spec: &Spec, identity: Identity) -> Result<Pid, InitError> {
    let (program, arguments) = spec.command.split_first().ok_or(InitError::NoCommand)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(spec.environment.iter().cloned())
        .current_dir(&spec.working_folder)
        .stdin(Stdio::null());
    sys::process::run_as(&mut command, identity);
    let failed = |source| InitError::Start {
        program: program.clone(),
        source,
    };
    let child = command.spawn().map_err(failed)?;
    let raw = i32::try_from(child.id()).ok();
    raw.and_then(Pid::from_raw)
        .ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))
}

/// Passes on signals, and ends the container when the agent lets go of the socket.
fn listen(mut control: &UnixStream, program: Pid) {
    let mut byte = [0];
    while matches!(control.read(&mut byte), Ok(1)) {
        if byte == [TERMINATE] {
            // The program may have ended just now.
            let _ = rustix::process::kill_process(program, Signal::TERM);
        }
    }
    std::process::exit(KILLED);
}
