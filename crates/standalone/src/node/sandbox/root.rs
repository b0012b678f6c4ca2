//! A container's root folder: a small file system in memory with the machine's programs mounted in,
//! and the volumes.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use sys::mount::{self, Propagation, Restrictions, Tree};

use super::{OWN_PROGRAM, Spec, Volume};

/// The machine's programs and libraries. Where one is a symbolic link, as on systems with a merged
/// `/usr`, it is one here too.
const SYSTEM: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// What programs need of `/etc`: names, certificates, the loader's tables. The rest, where machines
/// keep their secrets, stays out.
const SETTINGS: [&str; 24] = [
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "gai.conf",
    "group",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "pki/ca-trust",
    "pki/tls/certs",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
];

/// The devices that every program may use.
const DEVICES: [&str; 5] = ["full", "null", "random", "urandom", "zero"];

/// Parts of `/proc` that are the machine's, not the container's: whoever is user 0 may write there,
/// even without a capability.
const MACHINE: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Files of `/proc` that show the kernel's memory and addresses, or what others do.
const HIDDEN: [&str; 7] = [
    "kallsyms",
    "kcore",
    "keys",
    "kmsg",
    "latency_stats",
    "sched_debug",
    "timer_list",
];

const DEVICE_LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Room for the root's own folders, in bytes.
const ROOT_SIZE: u64 = 16 << 20;
/// Room in `/tmp`, in bytes.
const TEMPORARY_SIZE: u64 = 256 << 20;
/// Room in `/run` and for shared memory, in bytes.
const RUN_SIZE: u64 = 64 << 20;

/// The mode of folders that everybody may write to.
const STICKY: u32 = 0o1777;

const PROGRAMS: Restrictions = Restrictions {
    read_only: true,
    no_devices: true,
    no_exec: false,
};
const PROCESSES: Restrictions = Restrictions {
    read_only: true,
    no_devices: true,
    no_exec: true,
};
const DEVICE: Restrictions = Restrictions {
    read_only: false,
    no_devices: false,
    no_exec: true,
};

/// Why a container's root could not be built.
#[derive(Debug, thiserror::Error)]
pub(super) enum RootError {
    /// A step failed.
    #[error("cannot {action} {path}")]
    Step {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A mount path that leads nowhere safe.
    #[error("the mount path {path} must be absolute and without \"..\"")]
    MountPath { path: PathBuf },
}

fn failed<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> RootError {
    move |error| RootError::Step {
        action,
        path: path.to_owned(),
        source: error.into(),
    }
}

/// Builds the root of the calling process, which is alone in its mount namespace and process 1 of
/// its pid namespace.
pub(super) fn build(spec: &Spec) -> Result<(), RootError> {
    let root = &spec.root;
    mount::set_propagation(Propagation::Private).map_err(failed("detach", Path::new("/")))?;
    // The volumes are picked up before the old root goes and put down after, where no link leads
    // out of the container.
    let volumes = spec
        .volumes
        .iter()
        .map(PickedUp::new)
        .collect::<Result<Vec<_>, _>>()?;
    mount::memory(root, ROOT_SIZE, 0o755).map_err(failed("mount a file system at", root))?;
    for name in SYSTEM {
        share_system(root, name)?;
    }
    for name in SETTINGS {
        share_setting(root, name)?;
    }
    share_devices(root)?;
    let own = root.join(OWN_PROGRAM.trim_start_matches('/'));
    share(Path::new("/proc/self/exe"), &own, PROGRAMS)?;
    mount_process_list(root)?;
    mount::change_root(root).map_err(failed("change the root to", root))?;

    for (path, size) in [
        ("/tmp", TEMPORARY_SIZE),
        ("/run", RUN_SIZE),
        ("/dev/shm", RUN_SIZE),
    ] {
        create_folder(Path::new(path))?;
        let mode = if path == "/run" { 0o755 } else { STICKY };
        mount::memory(Path::new(path), size, mode)
            .map_err(failed("mount a file system at", Path::new(path)))?;
    }
    volumes.into_iter().try_for_each(PickedUp::put_down)
}

/// A volume on its way from the machine's root to the container's.
struct PickedUp<'a> {
    volume: &'a Volume,
    tree: Tree,
    is_folder: bool,
}

impl<'a> PickedUp<'a> {
    fn new(volume: &'a Volume) -> Result<Self, RootError> {
        let source = &volume.source;
        let plain = volume.target.is_absolute()
            && !volume
                .target
                .components()
                .any(|part| part == Component::ParentDir);
        if !plain {
            return Err(RootError::MountPath {
                path: volume.target.clone(),
            });
        }
        let part = open_part(source, &volume.part).map_err(failed("find the part of", source))?;
        let found = rustix::fs::fstat(&part).map_err(io::Error::from);
        let found = found.map_err(failed("look at", source))?;
        let is_folder = FileType::from_raw_mode(found.st_mode).is_dir();
        let tree = Tree::clone_of(part.as_fd()).map_err(failed("take the volume", source))?;
        tree.restrict(Restrictions {
            read_only: volume.read_only,
            no_devices: true,
            no_exec: false,
        })
        .map_err(failed("restrict the volume", source))?;
        Ok(Self {
            volume,
            tree,
            is_folder,
        })
    }

    fn put_down(self) -> Result<(), RootError> {
        let target = &self.volume.target;
        create_target(target, self.is_folder)?;
        self.tree
            .attach(target)
            .map_err(failed("mount a volume at", target))
    }
}

/// Opens a part of a volume, step by step, so that no link leads out of it. Folders on the way are
/// made as the volume's own is.
fn open_part(source: &Path, part: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(CWD, source, flags, Mode::empty())?;
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&at)?.st_mode & 0o7777);
    for step in part.components() {
        let Component::Normal(name) = step else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let umask = rustix::process::umask(Mode::empty());
        let made = rustix::fs::mkdirat(&at, name, mode);
        rustix::process::umask(umask);
        if let Err(error) = made
            && error != Errno::EXIST
            && error != Errno::ROFS
        {
            return Err(error.into());
        }
        at = rustix::fs::openat(&at, name, flags, Mode::empty())?;
    }
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&at)?.st_mode);
    if kind.is_symlink() {
        return Err(Errno::LOOP.into());
    }
    Ok(at)
}

fn share_system(root: &Path, name: &str) -> Result<(), RootError> {
    let source = Path::new("/").join(name);
    let target = root.join(name);
    match fs::symlink_metadata(&source) {
        Ok(found) if found.is_symlink() => copy_link(&source, &target),
        Ok(_) => share(&source, &target, PROGRAMS),
        Err(_) => Ok(()),
    }
}

/// A link within what containers see stays a link; one that leads elsewhere, as `resolv.conf` often
/// does, becomes what it leads to.
fn share_setting(root: &Path, name: &str) -> Result<(), RootError> {
    let source = Path::new("/etc").join(name);
    let target = root.join("etc").join(name);
    let Ok(real) = fs::canonicalize(&source) else {
        return Ok(());
    };
    let is_link = fs::symlink_metadata(&source).is_ok_and(|found| found.is_symlink());
    if is_link && real.starts_with("/usr") {
        copy_link(&source, &target)
    } else {
        share(&real, &target, PROGRAMS)
    }
}

fn share_devices(root: &Path) -> Result<(), RootError> {
    let folder = root.join("dev");
    for name in DEVICES {
        let source = Path::new("/dev").join(name);
        if source.exists() {
            share(&source, &folder.join(name), DEVICE)?;
        }
    }
    for (name, target) in DEVICE_LINKS {
        let link = folder.join(name);
        symlink(target, &link).map_err(failed("create the link", &link))?;
    }
    Ok(())
}

/// Inside a container whose own `/proc` is partly covered the kernel allows no new one; programs
/// then run without.
fn mount_process_list(root: &Path) -> Result<(), RootError> {
    let target = root.join("proc");
    create_folder(&target)?;
    match mount::processes(&target) {
        Ok(()) => cover_machine(&target),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(failed("mount the process list at", &target)(error)),
    }
}

fn cover_machine(processes: &Path) -> Result<(), RootError> {
    let existing = |name: &str| Some(processes.join(name)).filter(|path| path.exists());
    for path in MACHINE.into_iter().filter_map(existing) {
        share(&path, &path, PROCESSES)?;
    }
    for path in HIDDEN.into_iter().filter_map(existing) {
        share(Path::new("/dev/null"), &path, DEVICE)?;
    }
    Ok(())
}

fn share(source: &Path, target: &Path, restrictions: Restrictions) -> Result<(), RootError> {
    let real = fs::canonicalize(source).map_err(failed("find", source))?;
    create_target(target, real.is_dir())?;
    let share = || {
        let tree = Tree::clone_at(&real)?;
        tree.restrict(restrictions)?;
        tree.attach(target)
    };
    share().map_err(failed("show the container", &real))
}

fn copy_link(source: &Path, target: &Path) -> Result<(), RootError> {
    let leads_to = fs::read_link(source).map_err(failed("read the link", source))?;
    if let Some(parent) = target.parent() {
        create_folder(parent)?;
    }
    symlink(leads_to, target).map_err(failed("create the link", target))
}

/// Makes something to mount over, of the kind of what will be mounted.
fn create_target(target: &Path, is_folder: bool) -> Result<(), RootError> {
    if is_folder {
        return create_folder(target);
    }
    if let Some(parent) = target.parent() {
        create_folder(parent)?;
    }
    match File::create_new(target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(failed("create the mount path", target)(error))
        }
        _ => Ok(()),
    }
}

/// Everybody may pass, whatever the umask.
fn create_folder(path: &Path) -> Result<(), RootError> {
    let failed = failed("create the mount path", path);
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_folder(parent)?;
    }
    DirBuilder::new()
        .mode(0o755)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .map_err(failed)
}
