//! Mounts: detached trees that are prepared by descriptor and attached in one step (Linux 5.12).
//!
//! A tree is cloned ([`Tree::clone_at`]), restricted ([`Tree::restrict`]) and attached
//! ([`Tree::attach`]). Between the steps no path is walked twice, so nobody can swap a folder for a
//! symbolic link in the meantime, and a read-only mount is never writable, not even for an instant.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatVfsMountFlags, StatxAttributes, StatxFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

/// How mounts in a namespace follow those of the namespace that it was copied from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Nothing comes in, nothing goes out.
    Private,
    /// What the outer namespace mounts and unmounts happens here too; nothing goes out.
    Follow,
}

/// What users of a mount may not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// Writing is refused (`MS_RDONLY`).
    pub read_only: bool,
    /// Device nodes do not open (`MS_NODEV`).
    pub no_devices: bool,
    /// Programs do not start (`MS_NOEXEC`).
    pub no_exec: bool,
}

/// A copy of a part of the mount tree that is attached nowhere yet. Dropping it undoes it.
#[derive(Debug)]
pub struct Tree(OwnedFd);

impl Tree {
    /// Clones what is at `path`, with everything mounted below it. A symbolic link at the end of
    /// `path` is refused (`ELOOP`).
    pub fn clone_at(path: &Path) -> io::Result<Self> {
        let source = rustix::fs::openat(
            CWD,
            path,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&source)?.st_mode);
        if kind == rustix::fs::FileType::Symlink {
            return Err(rustix::io::Errno::LOOP.into());
        }
        Self::clone_of(source.as_fd())
    }

    /// Clones what the descriptor refers to, with everything mounted below it.
    pub fn clone_of(source: BorrowedFd<'_>) -> io::Result<Self> {
        // AT_RECURSIVE and AT_EMPTY_PATH are flags of this call too.
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_EMPTY_PATH;
        Ok(Self(rustix::mount::open_tree(source, "", flags)?))
    }

    /// Adds restrictions to every mount of the tree; those that it has already stay. Set-user-id
    /// bits are always ignored.
    pub fn restrict(&self, restrictions: Restrictions) -> io::Result<()> {
        let mut set = libc::MOUNT_ATTR_NOSUID;
        for (wanted, attribute) in [
            (restrictions.read_only, libc::MOUNT_ATTR_RDONLY),
            (restrictions.no_devices, libc::MOUNT_ATTR_NODEV),
            (restrictions.no_exec, libc::MOUNT_ATTR_NOEXEC),
        ] {
            if wanted {
                set |= attribute;
            }
        }
        set_attributes(self.0.as_fd(), set)
    }

    /// Attaches the tree over the folder or file at `target`; a symbolic link at the end of
    /// `target` is refused.
    pub fn attach(self, target: &Path) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat(CWD, target, flags, Mode::empty())?;
        self.attach_over(target.as_fd())
    }

    /// Attaches the tree over what the descriptor refers to.
    pub fn attach_over(self, target: BorrowedFd<'_>) -> io::Result<()> {
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(rustix::mount::move_mount(&self.0, "", target, "", flags)?)
    }
}

/// mount_setattr(2) on the whole tree behind a descriptor.
fn set_attributes(tree: BorrowedFd<'_>, set: u64) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is an empty C string literal, the structure lives across the call and its
    // true size is passed; the kernel only reads both.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sets how every mount below `/` follows the namespace it was copied from.
pub fn set_propagation(propagation: Propagation) -> io::Result<()> {
    let kind = match propagation {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Follow => MountPropagationFlags::DOWNSTREAM,
    };
    Ok(rustix::mount::mount_change(
        "/",
        kind | MountPropagationFlags::REC,
    )?)
}

/// Mounts an empty file system in memory of at most `size` bytes, with the given mode for its root
/// folder.
pub fn memory(target: &Path, size: u64, mode: u32) -> io::Result<()> {
    let options = CString::new(format!("size={size},mode={mode:o}"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(rustix::mount::mount(
        "tmpfs",
        target,
        "tmpfs",
        flags,
        options.as_c_str(),
    )?)
}

/// Mounts the process list of the calling process's pid namespace.
pub fn processes(target: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(rustix::mount::mount("proc", target, "proc", flags, None)?)
}

/// Makes the mount at `new_root` the root of the calling process's mount namespace and forgets the
/// old one.
pub fn change_root(new_root: &Path) -> io::Result<()> {
    rustix::process::chdir(new_root)?;
    // The old root lands on top of the new one and is taken off again: no folder is needed to put
    // it.
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

/// Whether `path` itself, not what a symbolic link there points to, is the root of a mount.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let status = rustix::fs::statx(CWD, path, flags, StatxFlags::empty())?;
    if !status
        .stx_attributes_mask
        .contains(StatxAttributes::MOUNT_ROOT)
    {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Whether the mount that holds `path` refuses writing.
pub fn is_read_only(path: &Path) -> io::Result<bool> {
    Ok(rustix::fs::statvfs(path)?
        .f_flag
        .contains(StatVfsMountFlags::RDONLY))
}

/// Takes off the topmost mount at `path`, which must not be a symbolic link.
///
/// # Errors
/// `EBUSY` when a process still works in it; `EINVAL` when nothing is mounted there.
pub fn unmount(path: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(path, UnmountFlags::NOFOLLOW)?)
}
