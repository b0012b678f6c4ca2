//! From a container of a Pod to a sandbox: what to run, as whom, with what in sight.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, SecurityContext, VolumeMount};

use super::environment::expand;
use super::folder::ContainerFolder;
use super::sandbox::{OWN_PROGRAM, Spec, Volume};

/// The image whose containers run this program.
const OWN_IMAGE: &str = "longshore";

/// Where a container leaves its last word unless it says otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Why a container cannot start now: the reason and message of its waiting state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Problem {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    pub(super) fn config(message: impl Into<String>) -> Self {
        Self::new("CreateContainerConfigError", message)
    }
}

/// Describes the sandbox of a container. `volumes` are the machine's folders of the Pod's volumes,
/// by name.
pub(super) fn sandbox(
    pod: &Pod,
    container: &Container,
    environment: BTreeMap<String, String>,
    volumes: &HashMap<String, PathBuf>,
    folder: &ContainerFolder,
) -> Result<Spec, Problem> {
    let command = command(container, &environment)?;
    let user = User::of(pod, container)?;
    let mut mounts = container
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| volume(mount, volumes, &environment))
        .collect::<Result<Vec<_>, _>>()?;
    if container
        .volume_devices
        .as_ref()
        .is_some_and(|devices| !devices.is_empty())
    {
        return Err(Problem::config(
            "volumeDevices are not supported here: use Filesystem volumes",
        ));
    }
    mounts.push(Volume {
        source: folder.termination_log(),
        part: PathBuf::new(),
        target: termination_path(container).into(),
        read_only: false,
    });
    // A folder must be there before what is mounted inside it.
    mounts.sort_by(|one, other| one.target.cmp(&other.target));
    Ok(Spec {
        host_name: pod
            .metadata
            .name
            .clone()
            .unwrap_or_default()
            .chars()
            .take(63)
            .collect(),
        root: folder.root(),
        command,
        environment: environment.into_iter().collect(),
        working_folder: container
            .working_dir
            .clone()
            .unwrap_or_else(|| "/".to_owned())
            .into(),
        user: user.id,
        group: user.group,
        groups: user.groups,
        root_capabilities: user.root_capabilities,
        volumes: mounts,
    })
}

fn termination_path(container: &Container) -> &str {
    container
        .termination_message_path
        .as_deref()
        .unwrap_or(TERMINATION_LOG)
}

/// Whether an image is this program: `longshore`, in any registry, with any tag or digest.
fn is_own_image(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split(['@', ':']).next() == Some(OWN_IMAGE)
}

fn command(
    container: &Container,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<String>, Problem> {
    let image = container.image.as_deref().unwrap_or_default();
    let entry = match &container.command {
        Some(command) if !command.is_empty() => command.clone(),
        _ if is_own_image(image) => vec![OWN_PROGRAM.to_owned()],
        _ => {
            return Err(Problem::new(
                "ErrImagePull",
                format!(
                    "failed to pull image \"{image}\": standalone runs no container images; give the \
                     container a command that the machine has, or use the image \"{OWN_IMAGE}\""
                ),
            ));
        }
    };
    let arguments = container.args.clone().unwrap_or_default();
    Ok(entry
        .into_iter()
        .chain(arguments)
        .map(|word| expand(&word, environment))
        .collect())
}

fn volume(
    mount: &VolumeMount,
    volumes: &HashMap<String, PathBuf>,
    environment: &BTreeMap<String, String>,
) -> Result<Volume, Problem> {
    let name = &mount.name;
    let part = match (&mount.sub_path, &mount.sub_path_expr) {
        (Some(part), _) => part.clone(),
        (None, Some(pattern)) => expand(pattern, environment),
        (None, None) => String::new(),
    };
    let is_inside = |part: &Path| {
        part.components()
            .all(|step| matches!(step, Component::Normal(_)))
    };
    if !is_inside(Path::new(&part)) {
        return Err(Problem::config(format!(
            "subPath {part:?} of volume mount {name} does not stay in the volume"
        )));
    }
    let source = volumes
        .get(name)
        .ok_or_else(|| Problem::config(format!("volume {name} is not a volume of the pod")))?;
    Ok(Volume {
        source: source.clone(),
        part: part.into(),
        target: mount.mount_path.clone().into(),
        read_only: mount.read_only.unwrap_or_default(),
    })
}

/// Who a container runs as.
#[derive(Debug, PartialEq, Eq)]
struct User {
    id: u32,
    group: u32,
    groups: Vec<u32>,
    root_capabilities: bool,
}

impl User {
    /// The container's settings over the Pod's. Without a group, the user's files belong to the
    /// Pod's `fsGroup`, or else to a group of the user's own number: the machine's root group is
    /// nobody's default.
    fn of(pod: &Pod, container: &Container) -> Result<Self, Problem> {
        let shared = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.security_context.clone());
        let shared = shared.unwrap_or_default();
        let own = container.security_context.clone().unwrap_or_default();
        let id = number(own.run_as_user.or(shared.run_as_user))?.unwrap_or(0);
        if id == 0 && own.run_as_non_root.or(shared.run_as_non_root) == Some(true) {
            return Err(Problem::config(
                "container has runAsNonRoot and would run as root: set runAsUser",
            ));
        }
        let fs_group = number(shared.fs_group)?;
        let group = number(own.run_as_group.or(shared.run_as_group))?;
        let mut groups = Vec::new();
        for group in shared.supplemental_groups.into_iter().flatten() {
            groups.extend(number(Some(group))?);
        }
        groups.extend(fs_group);
        Ok(Self {
            id,
            group: group.or(fs_group).unwrap_or(id),
            groups,
            root_capabilities: id == 0 && !drops_all(&own),
        })
    }
}

fn drops_all(context: &SecurityContext) -> bool {
    let dropped = context
        .capabilities
        .as_ref()
        .and_then(|capabilities| capabilities.drop.as_ref());
    dropped.is_some_and(|dropped| dropped.iter().any(|name| name == "ALL"))
}

/// An id as the system has it.
fn number(id: Option<i64>) -> Result<Option<u32>, Problem> {
    id.map(|id| {
        u32::try_from(id).map_err(|_| Problem::config(format!("{id} is no user or group id")))
    })
    .transpose()
}

/// The Pod's `fsGroup`.
pub(super) fn fs_group(pod: &Pod) -> Option<u32> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    u32::try_from(context.fs_group?).ok()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Capabilities, PodSecurityContext, PodSpec};

    use super::*;

    #[test]
    fn the_own_image_has_many_names() {
        for image in [
            "longshore",
            "longshore:0.1.0",
            "registry.example:5000/team/longshore:latest",
            "longshore@sha256:00",
        ] {
            assert!(is_own_image(image), "{image}");
        }
        for image in [
            "",
            "busybox",
            "longshore-extra",
            "longshore/busybox",
            "my/longshoreman:1",
        ] {
            assert!(!is_own_image(image), "{image}");
        }
    }

    #[test]
    fn a_foreign_image_needs_a_command() {
        let mut container = Container {
            image: Some("busybox".to_owned()),
            ..Container::default()
        };
        let environment = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        assert_eq!(
            command(&container, &environment).unwrap_err().reason,
            "ErrImagePull"
        );
        container.command = Some(vec!["echo".to_owned()]);
        container.args = Some(vec!["$(A)".to_owned()]);
        assert_eq!(command(&container, &environment).unwrap(), ["echo", "1"]);
    }

    fn user(pod: PodSecurityContext, container: SecurityContext) -> Result<User, Problem> {
        let pod = Pod {
            spec: Some(PodSpec {
                security_context: Some(pod),
                ..PodSpec::default()
            }),
            ..Pod::default()
        };
        let container = Container {
            security_context: Some(container),
            ..Container::default()
        };
        User::of(&pod, &container)
    }

    #[test]
    fn the_containers_user_wins() {
        let pod = PodSecurityContext {
            run_as_user: Some(1),
            fs_group: Some(107),
            ..PodSecurityContext::default()
        };
        let container = SecurityContext {
            run_as_user: Some(107),
            ..SecurityContext::default()
        };
        let user = user(pod, container).unwrap();
        assert_eq!((user.id, user.group, user.groups), (107, 107, vec![107]));
        assert!(!user.root_capabilities);
    }

    #[test]
    fn root_must_be_allowed_and_can_be_powerless() {
        let non_root = PodSecurityContext {
            run_as_non_root: Some(true),
            ..PodSecurityContext::default()
        };
        assert!(user(non_root, SecurityContext::default()).is_err());
        let root = user(PodSecurityContext::default(), SecurityContext::default()).unwrap();
        assert!(root.root_capabilities);
        let powerless = SecurityContext {
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: None,
            }),
            ..SecurityContext::default()
        };
        assert!(
            !user(PodSecurityContext::default(), powerless)
                .unwrap()
                .root_capabilities
        );
    }
}
