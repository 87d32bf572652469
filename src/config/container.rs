//! Containers, as their engines call them.

use std::path::Path;

use procfs::process::{MountInfo, Process};
use serde::{Deserialize, Serialize};

use super::shell::shell_word;

/// What runs a command in a container, typed outside of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Container {
    /// With `docker` or `podman`.
    Engine { program: String, id: String },
    /// A container of a pod.
    Pod { namespace: String, name: String },
}

/// Before what root types, in a container.
pub(super) const AS_ROOT: &str = "as root, on the host if the directory is mounted from there:";

/// How many characters of its id an engine shows.
const SHORT_ID: usize = 12;

/// Where Kubernetes tells a pod its namespace.
const NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// What Kubernetes sets in each container.
const OF_KUBERNETES: &str = "KUBERNETES_SERVICE_HOST";

/// Whether this process runs in a container, which only the network of its engine reaches.
pub(crate) fn in_container() -> bool {
    let files = ["/.dockerenv", "/run/.containerenv"];
    files.iter().any(|file| Path::new(file).exists()) || std::env::var_os(OF_KUBERNETES).is_some()
}

impl Container {
    /// The container of this process.
    pub(super) fn own() -> Option<Self> {
        Self::of(&Process::myself().ok()?).or_else(pod)
    }

    /// The container of a process that is seen from outside.
    pub(crate) fn of(process: &Process) -> Option<Self> {
        Self::of_mounts(&process.mountinfo().ok()?.0)
    }

    /// The container with these mounts: its engine mounts a file that has its id in its path.
    fn of_mounts(mounts: &[MountInfo]) -> Option<Self> {
        let is_name = |mount: &&MountInfo| mount.mount_point == Path::new("/etc/hostname");
        of_path(&mounts.iter().find(is_name)?.root)
    }

    /// How todoctl examines it there.
    pub(crate) fn doctor(&self) -> String {
        self.exec(Input::Nothing, "todoctl doctor")
    }

    /// A command there. `input` is what it reads: nothing, what another one prints, or a terminal.
    pub(super) fn exec(&self, input: Input, command: &str) -> String {
        let flags = match input {
            Input::Nothing => "",
            Input::Piped => " -i",
            Input::Terminal => " -it",
        };
        match self {
            Self::Engine { program, id } => format!("{program} exec{flags} {id} {command}"),
            Self::Pod { namespace, name } => {
                format!("kubectl exec{flags} -n {namespace} {name} -- {command}")
            }
        }
    }

    /// A line of a shell there, for root where an engine makes that possible.
    pub(super) fn shell(&self, is_root: bool, line: &str) -> String {
        let line = shell_word(Path::new(line));
        match self {
            Self::Engine { program, id } if is_root => {
                format!("{program} exec -u 0 {id} sh -c {line}")
            }
            _ => self.exec(Input::Nothing, &format!("sh -c {line}")),
        }
    }

    /// A signal for its first process.
    pub(super) fn signal(&self, signal: &str) -> Option<String> {
        match self {
            Self::Engine { program, id } => Some(format!("{program} kill --signal {signal} {id}")),
            Self::Pod { .. } => None,
        }
    }

    /// What its operator calls it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Engine { id, .. } => id,
            Self::Pod { name, .. } => name,
        }
    }

    /// Where its environment is set.
    pub(super) fn environment(&self) -> &'static str {
        match self {
            Self::Engine { .. } => "the environment of the container (compose file, docker run -e)",
            Self::Pod { .. } => "the manifest of the pod (env)",
        }
    }

    /// How it gets another environment.
    pub(super) fn anew(&self) -> &'static str {
        match self {
            Self::Engine { .. } => {
                "then create the container again, which restarting it does not: docker compose up -d, or docker run"
            }
            Self::Pod { .. } => "then kubectl apply the manifest",
        }
    }
}

/// What a command reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    Nothing,
    Piped,
    Terminal,
}

fn of_path(path: &str) -> Option<Container> {
    let mut words = path.split('/');
    let mut parent = "";
    let id = words.find(|word| {
        let is_id = word.len() == 64 && word.bytes().all(|one| one.is_ascii_hexdigit());
        if !is_id {
            parent = *word;
        }
        is_id
    })?;
    let program = match parent {
        "containers" => "docker",
        "overlay-containers" | "vfs-containers" | "btrfs-containers" => "podman",
        _ => return None,
    };
    Some(Container::Engine {
        program: program.to_owned(),
        id: id.get(..SHORT_ID)?.to_owned(),
    })
}

fn pod() -> Option<Container> {
    std::env::var_os(OF_KUBERNETES)?;
    let read = |file: &str| std::fs::read_to_string(file).ok();
    let word = |text: String| {
        let text = text.trim();
        let is_name = |one: u8| one.is_ascii_alphanumeric() || b"-.".contains(&one);
        (!text.is_empty() && text.bytes().all(is_name)).then(|| text.to_owned())
    };
    Some(Container::Pod {
        namespace: read(NAMESPACE).and_then(word)?,
        name: read("/proc/sys/kernel/hostname").and_then(word)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_and_their_containers() {
        let id = "0b1ff9f64d8903168f686616f14e2f90810146562df253f8e730ec6b0cf361d4";
        for (path, expected) in [
            (
                format!("/var/lib/docker/containers/{id}/hostname"),
                Some("docker exec 0b1ff9f64d89 todoctl doctor"),
            ),
            (
                format!("/containers/storage/overlay-containers/{id}/userdata/hostname"),
                Some("podman exec 0b1ff9f64d89 todoctl doctor"),
            ),
            (
                format!("/io.containerd.grpc.v1.cri/sandboxes/{id}/hostname"),
                None,
            ),
            ("/etc/hostname".to_owned(), None),
        ] {
            let found = of_path(&path).map(|one| one.exec(Input::Nothing, "todoctl doctor"));
            assert_eq!(found.as_deref(), expected, "{path}");
        }
        let pod = Container::Pod {
            namespace: "todo".to_owned(),
            name: "backend-0".to_owned(),
        };
        assert_eq!(
            pod.exec(Input::Piped, "todoctl config set PORT=-"),
            "kubectl exec -i -n todo backend-0 -- todoctl config set PORT=-"
        );
    }

    #[test]
    fn lines_of_a_shell() {
        let container = Container::Engine {
            program: "docker".to_owned(),
            id: "0b1ff9f64d89".to_owned(),
        };
        assert_eq!(
            container.shell(true, "chown 1000 '/data/a b' && ls"),
            "docker exec -u 0 0b1ff9f64d89 sh -c \"chown 1000 '/data/a b' && ls\""
        );
    }
}
