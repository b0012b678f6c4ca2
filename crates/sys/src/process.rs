//! Processes: making them, giving up rights before a program starts, and how they ended.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

use crate::namespace::{self, IdMap, Kinds};

/// Which side of [`fork`] the caller is on.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// The process that called; knows the new one.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Copies the calling process. It must have one thread only: in the copy, locks held by other
/// threads would never be released.
///
/// # Errors
/// `InvalidInput` in a process with several threads; otherwise what fork(2) says.
pub fn fork() -> io::Result<Side> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "only a process with a single thread can be copied",
        ));
    }
    // SAFETY: the process has one thread, so the copy is complete and all its locks are in the
    // state this thread left them.
    let result = unsafe { libc::fork() };
    match Pid::from_raw(result) {
        Some(pid) if result > 0 => Ok(Side::Parent(pid)),
        None => Ok(Side::Child),
        Some(_) => Err(io::Error::last_os_error()),
    }
}

/// Kills the calling process when the thread that made it ends, however that happens.
///
/// # Errors
/// `NotFound` when the parent, which the caller names, has gone already.
pub fn die_with(parent: Option<Pid>) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() == parent {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the parent process is gone",
        ))
    }
}

/// Waits for the children of this process, reaping those it was never told of, until `pid` has
/// ended. Returns the exit status as a shell shows it: the exit code, or 128 and the number of the
/// signal.
pub fn wait_for(pid: Pid) -> io::Result<u8> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended == pid => {
                let code = status
                    .exit_status()
                    .or_else(|| status.terminating_signal().map(|signal| 128 + signal));
                return Ok(code
                    .and_then(|code| u8::try_from(code).ok())
                    .unwrap_or(u8::MAX));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Who a program runs as.
#[derive(Debug)]
pub enum Become {
    /// A user and groups that this process's user namespace knows; needs root there.
    User {
        /// User id.
        user: u32,
        /// Primary group id.
        group: u32,
        /// Supplementary group ids.
        groups: Vec<u32>,
    },
    /// The same user as now, under other ids in a user namespace of its own.
    Mapped {
        /// The ids inside, and the current ones.
        map: IdMap,
        /// `/proc`, from [`namespace::open_process_list`].
        processes: OwnedFd,
    },
}

/// What a program may do.
#[derive(Debug)]
pub struct Identity {
    /// Who it runs as.
    pub user: Become,
    /// The capabilities it keeps if it runs as root, and the most it can ever have.
    pub capabilities: CapabilitySet,
}

/// Makes `command` run its program with the given identity, and unable to gain rights by starting
/// another program.
///
/// The calling process should have one thread; what happens between fork and exec allocates.
pub fn run_as(command: &mut Command, identity: Identity) {
    let mut identity = Some(identity);
    let assume = move || identity.take().map_or(Ok(()), |identity| assume(&identity));
    // SAFETY: `assume` makes system calls and allocates; it takes no lock that another thread could
    // hold, as documented above the only caller is single-threaded.
    unsafe { command.pre_exec(assume) };
}

/// Takes on an identity. The order matters: each step needs a right that a later one gives up.
fn assume(identity: &Identity) -> io::Result<()> {
    if let Become::Mapped { map, processes } = &identity.user {
        namespace::separate(Kinds {
            users: true,
            ..Kinds::default()
        })?;
        namespace::map_self(processes.as_fd(), *map)?;
    }
    for capability in CapabilitySet::all()
        .difference(identity.capabilities)
        .iter()
    {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // A capability that this kernel does not know.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    if let Become::User {
        user,
        group,
        groups,
    } = &identity.user
    {
        let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
        rustix::thread::set_thread_groups(&groups)?;
        let (user, group) = (Uid::from_raw(*user), Gid::from_raw(*group));
        rustix::thread::set_thread_res_gid(group, group, group)?;
        rustix::thread::set_thread_res_uid(user, user, user)?;
    }
    let kept = if rustix::process::geteuid().is_root() {
        identity.capabilities
    } else {
        CapabilitySet::empty()
    };
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}
