//! Namespaces: what a process sees of the machine.
//!
//! [`enter`] is for a program at its very start: it gives the whole process a mount namespace of
//! its own, so that everything it mounts vanishes with it, and makes an ordinary user root of a
//! user namespace where that is what it takes. [`separate`] and [`map_self`] are the single steps,
//! for a process that builds a sandbox.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::thread::UnshareFlags;

use crate::mount::{self, Propagation};

/// Where the kernel says what keeps an ordinary user from making a user namespace.
const SWITCHES: [(&str, &str); 3] = [
    ("/proc/sys/user/max_user_namespaces", "0"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
    ),
];

/// How [`enter`] got the right to mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// The process was root already.
    Root,
    /// The process is root of a user namespace in which it is the only user.
    UserNamespace,
}

/// Why a process could not get a mount namespace of its own.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// Neither root nor allowed to make a user namespace.
    #[error(
        "this user may not make user namespaces{}; run as root, or allow them",
        switch.map(|switch| format!(" (see {switch})")).unwrap_or_default()
    )]
    NotPermitted {
        /// The kernel setting that is likely to forbid it.
        switch: Option<&'static str>,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The namespace was made but could not be set up.
    #[error("cannot set up a private mount namespace")]
    SetUp {
        /// What the kernel answered.
        source: io::Error,
    },
}

/// Gives the process a mount namespace of its own and, where it is not root, makes it root of a
/// user namespace. Call it before any thread is started: a namespace belongs to the threads that
/// come from the calling one.
///
/// # Errors
/// [`EnterError`]; after `SetUp` the process should exit.
pub fn enter() -> Result<Privilege, EnterError> {
    let privilege = match separate(Kinds {
        mounts: true,
        ..Kinds::default()
    }) {
        Ok(()) => Privilege::Root,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            enter_as_user()?;
            Privilege::UserNamespace
        }
        Err(source) => return Err(EnterError::SetUp { source }),
    };
    mount::set_propagation(Propagation::Follow).map_err(|source| EnterError::NotPermitted {
        switch: forbidding_switch(),
        source,
    })?;
    Ok(privilege)
}

fn enter_as_user() -> Result<(), EnterError> {
    let (user, group) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let not_permitted = |source| EnterError::NotPermitted {
        switch: forbidding_switch(),
        source,
    };
    let processes = open_process_list().map_err(|source| EnterError::SetUp { source })?;
    separate(Kinds {
        mounts: true,
        users: true,
        ..Kinds::default()
    })
    .map_err(not_permitted)?;
    let map = IdMap {
        user: (0, user),
        group: (0, group),
    };
    map_self(processes.as_fd(), map).map_err(not_permitted)
}

fn forbidding_switch() -> Option<&'static str> {
    SWITCHES
        .into_iter()
        .find(|(path, value)| {
            std::fs::read_to_string(path).is_ok_and(|content| content.trim() == *value)
        })
        .map(|(path, _)| path)
}

/// The kinds of namespace to make anew.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of one system call"
)]
pub struct Kinds {
    /// Mounts.
    pub mounts: bool,
    /// Process ids; holds for the children of the caller, the first of which becomes process 1.
    pub processes: bool,
    /// System V and POSIX message queues, shared memory.
    pub ipc: bool,
    /// The host name.
    pub host_name: bool,
    /// Users and capabilities.
    pub users: bool,
}

/// Puts the calling thread into new namespaces of the given kinds.
///
/// # Errors
/// `EPERM` without the right to; `EINVAL` for `users` in a process with several threads.
pub fn separate(kinds: Kinds) -> io::Result<()> {
    let mut flags = UnshareFlags::empty();
    for (wanted, flag) in [
        (kinds.mounts, UnshareFlags::NEWNS),
        (kinds.processes, UnshareFlags::NEWPID),
        (kinds.ipc, UnshareFlags::NEWIPC),
        (kinds.host_name, UnshareFlags::NEWUTS),
        (kinds.users, UnshareFlags::NEWUSER),
    ] {
        flags.set(flag, wanted);
    }
    // SAFETY: the call is unsound only with FILES, which gives threads different descriptor tables;
    // it is never set here.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// One user and one group of a new user namespace: the id inside, and the same id as the enclosing
/// namespace knows it.
#[derive(Clone, Copy, Debug)]
pub struct IdMap {
    /// User id inside and outside.
    pub user: (u32, u32),
    /// Group id inside and outside.
    pub group: (u32, u32),
}

/// Opens `/proc` for [`map_self`], which may be called when the process does not see that folder
/// any more.
pub fn open_process_list() -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, "/proc", flags, Mode::empty())?)
}

/// Gives the calling process its ids in the user namespace that it has just made.
///
/// # Errors
/// `EPERM` when ids are mapped already or the outer id is not the caller's own.
pub fn map_self(processes: BorrowedFd<'_>, map: IdMap) -> io::Result<()> {
    let write = |name: &str, content: String| {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(processes, format!("self/{name}"), flags, Mode::empty())?;
        File::from(file).write_all(content.as_bytes())
    };
    // Without this an ordinary user could leave a group that is denied access somewhere
    // (user_namespaces(7)). Only root of the outer namespace may find it refused, because it is
    // denied there already.
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{} {} 1", map.user.0, map.user.1))?;
    write("gid_map", format!("{} {} 1", map.group.0, map.group.1))
}

/// Whether the process, as root of its user namespace, can become this user with this primary
/// group: the namespace must know both ids and let its processes change their groups.
pub fn can_become(user: u32, group: u32) -> io::Result<bool> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}"));
    Ok(read("setgroups")?.trim() == "allow"
        && map_contains(&read("uid_map")?, user)
        && map_contains(&read("gid_map")?, group))
}

/// Whether one of the lines "first-inside first-outside count" covers the id.
fn map_contains(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        id.checked_sub(first).is_some_and(|offset| offset < count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_namespace_knows_every_id() {
        assert!(map_contains("         0          0 4294967295\n", 107));
    }

    #[test]
    fn a_single_user_namespace_knows_only_its_user() {
        let map = "         0       1000          1\n";
        assert!(map_contains(map, 0));
        assert!(!map_contains(map, 1));
        assert!(!map_contains(map, 1000));
    }

    #[test]
    fn an_unreadable_map_knows_nobody() {
        assert!(!map_contains("", 0));
        assert!(!map_contains("0 zero 1", 0));
    }
}
