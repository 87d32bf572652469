"""The image: what is in it, what is not, and how it starts."""

import io
import json
import tarfile
import time
import zlib

import pytest

from conftest import CANARY
from support import FACTS, IMAGE, Api, container, docker, new_secrets, run, until

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def layers(image, tmp_path_factory):
    """Every layer of the image, unpacked archives by name."""
    archive = tmp_path_factory.mktemp("save") / "image.tar"
    docker("save", "-o", archive, image)
    return archive


@pytest.fixture(scope="module")
def files(image):
    """The image's whole file system, by path."""
    name = docker("create", "--label", "todoctl-test=1", image)
    try:
        exported = run("sh", "-c", f"docker export {name} | tar -tvf - --numeric-owner").stdout
    finally:
        docker("rm", name)
    found = {}
    for line in exported.splitlines():
        mode, owner, size, _, _, path = line.split(None, 5)
        found["/" + path.split(" -> ")[0].strip("/")] = (mode, owner, size)
    return found


def test_is_small(image, files):
    size = int(docker("image", "inspect", "-f", "{{.Size}}", image))
    assert size <= 45 * MEGABYTE, size
    _, _, program = files["/usr/local/bin/todoctl"]
    assert int(program) < 20 * 1024 * 1024, program


def test_configuration(image):
    config = json.loads(docker("image", "inspect", "-f", "{{json .Config}}", image))
    assert config["User"] == "1000:1000"
    assert config["StopSignal"] == "SIGTERM"
    assert list(config["Volumes"]) == ["/data"]
    assert list(config["ExposedPorts"]) == ["8000/tcp"]
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/local/bin/todoctl", "health"]
    assert config["Healthcheck"]["Interval"] == 30 * 10**9


def labels_of(image):
    return json.loads(docker("image", "inspect", "-f", "{{json .Config.Labels}}", image))


def test_version_and_labels_agree(image):
    labels, prefix = labels_of(image), "org.opencontainers.image."
    assert docker("run", "--rm", image, "--version") == f"todoctl {labels[prefix + 'version']}"
    assert labels[prefix + "revision"] == "", "nobody has told the commit"
    assert labels[prefix + "licenses"] == "MIT OR Apache-2.0"
    assert labels[prefix + "title"] == "todoctl"


def test_without_shell_package_manager_and_other_users(image, files):
    forbidden = {"sh", "bash", "dash", "ash", "busybox", "apt", "apt-get", "dpkg", "apk", "rpm",
                 "perl", "python3", "curl", "wget", "su", "sudo", "cargo", "rustc"}
    programs = {path for path in files if path.rsplit("/", 1)[-1] in forbidden
                and files[path][0][0] != "d"}
    assert not programs
    shell = run("docker", "run", "--rm", "--entrypoint", "/bin/sh", image, "-c", "true", check=False)
    assert shell.returncode != 0
    setuid = {path for path, (mode, _, _) in files.items() if mode[0] == "-" and "s" in mode}
    assert not setuid


def test_appuser_can_write_data_and_tmp_alone(image, files):
    mine = {path for path, (_, owner, _) in files.items() if owner.startswith("1000/")}
    anybody = {path for path, (mode, _, _) in files.items() if mode[8] == "w" and mode[0] != "l"}
    assert mine == {"/data"}
    assert anybody == {"/tmp"}
    assert files["/tmp"][0] == "drwxrwxrwt"


def test_no_secret_of_the_context_and_nothing_of_the_builders_environment(image, layers):
    history = docker("history", "--no-trunc", "--format", "{{json .}}", image)
    inspected = docker("image", "inspect", image)
    for text in (history, inspected):
        assert CANARY not in text
        assert "TODOCTL_CANARY" not in text
    environment = json.loads(inspected)[0]["Config"]["Env"]
    assert sorted(line.split("=")[0] for line in environment) == ["HOST", "PATH", "TODOCTL_DATA_DIR"]
    needle = CANARY.encode()
    with tarfile.open(layers) as outer:
        for member in outer:
            if not member.isfile():
                continue
            content = outer.extractfile(member).read()
            assert needle not in content, member.name
            if member.name.endswith(".tar"):
                with tarfile.open(fileobj=io.BytesIO(content)) as layer:
                    for inner in layer:
                        assert "/.env" not in f"/{inner.name}", inner.name


@pytest.fixture(scope="module")
def builder(image, context):
    """The stage that has compiled the image's binary."""
    name = f"{IMAGE}-builder"
    docker("build", "--target", "build", "-t", name, context, env={"DOCKER_BUILDKIT": "0"},
           timeout=3600)
    return name


def test_no_secret_of_the_context_reaches_the_builder(builder):
    found = run("docker", "run", "--rm", builder, "grep", "-rlF", CANARY, "/build/src",
                "/build/migrations", "/build/Cargo.toml", check=False)
    assert found.returncode == 1, found.stdout


def test_lists_its_dependencies(image, tmp_path):
    """cargo-auditable's list, which is the SBOM that scanners read."""
    name = docker("create", "--label", "todoctl-test=1", image)
    try:
        docker("cp", f"{name}:/usr/local/bin/todoctl", tmp_path / "todoctl")
    finally:
        docker("rm", name)
    run("objcopy", "-O", "binary", "--only-section=.dep-v0", "--set-section-flags",
        ".dep-v0=alloc", tmp_path / "todoctl", tmp_path / "list")
    packages = json.loads(zlib.decompress((tmp_path / "list").read_bytes()))["packages"]
    names = {package["name"] for package in packages}
    assert {"todoctl", "warp", "sqlx", "tokio", "rustls"} <= names
    assert "insta" not in names, "a dependency of the tests alone"
    symbols = run("nm", tmp_path / "todoctl", check=False).stdout
    assert "no symbols" in symbols
    FACTS["image: dependencies in its SBOM"] = str(len(packages))


def test_buildkit_assembles_the_same(image, builder, context, commit):
    """The other builder, told the commit. It takes the binary that the classic one has compiled."""
    other = f"{IMAGE}-buildkit"
    docker("build", "-t", other, "--build-arg", f"BUILD={builder}", "--build-arg",
           f"TODOCTL_COMMIT={commit}", context, env={"DOCKER_BUILDKIT": "1"}, timeout=3600)
    template = "{{json .Config.Entrypoint}} {{json .Config.Env}} {{json .Config.Volumes}} {{.Config.User}}"
    assert docker("image", "inspect", "-f", template, other) == \
        docker("image", "inspect", "-f", template, image)
    revision = "org.opencontainers.image.revision"
    assert labels_of(other) == {**labels_of(image), revision: commit}
    assert docker("run", "--rm", other, "--version") == docker("run", "--rm", image, "--version")
    with container(other) as daemon:
        daemon.api().wait()


def test_answers_within_a_second_without_any_setting(image):
    """On the embedded database, from nothing: it makes the file, the schema and the secrets."""
    taken = []
    for _ in range(3):
        with container(image) as daemon:
            api = daemon.api()
            api.wait(seconds=10)
            answered = time.time()
            started = daemon.inspect("{{.State.StartedAt}}")
            seconds = float(run("date", "-d", started, "+%s.%N").stdout)
            taken.append(answered - seconds)
            assert docker("exec", daemon.name, "todoctl", "db", "check")
    FACTS["daemon: first 200 from /health after its start"] = f"{min(taken) * 1000:.0f} ms"
    assert min(taken) < 1.0, taken


def test_hardened(image):
    """--read-only, no capabilities, no new privileges; /data is a volume, /tmp in memory."""
    options = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
               "--tmpfs", "/tmp", "--pids-limit", "64", "--memory", "128m"]
    with container(image, options=options) as daemon:
        daemon.api().wait()
        token = service_token(daemon)
        api = daemon.api(token)
        api.create("hardened")
        assert api.titles() == ["hardened"]
        docker("restart", daemon.name)
        api = daemon.api(token)
        api.wait()
        assert api.titles() == ["hardened"], "the volume keeps it"


def service_token(daemon):
    """The one that the daemon made for itself, read out of its volume."""
    copied = run("sh", "-c", f"docker cp {daemon.name}:/data/secrets/SERVICE_AUTH_TOKEN - | tar -xO")
    return copied.stdout.strip()


def test_health_command_and_docker_agree(image):
    with container(image, options=["--health-interval", "1s"]) as daemon:
        daemon.wait_health("healthy", 30)
        said = json.loads(docker("exec", daemon.name, "todoctl", "health", "--format", "json"))
        assert said["healthy"] is True
        log = json.loads(daemon.inspect("{{json .State.Health.Log}}"))
        assert log[-1]["ExitCode"] == 0
        assert log[-1]["Output"].startswith("healthy:")


def test_a_published_port_and_an_env_file(image, tmp_path):
    """README: docker run --env-file .env -p 8000:8000."""
    lines = docker("run", "--rm", image, "gen-secrets")
    (tmp_path / ".env").write_text(lines + "\nENVIRONMENT=production\nDATABASE_URL=sqlite:///data/todo.db\n")
    token = next(line.split("=", 1)[1] for line in lines.splitlines()
                 if line.startswith("SERVICE_AUTH_TOKEN="))
    with container(image, options=["--env-file", tmp_path / ".env", "-p", "127.0.0.1::8000"]) as daemon:
        port = docker("port", daemon.name, "8000/tcp").rsplit(":", 1)[1]
        api = Api("127.0.0.1", int(port), token)
        api.wait()
        api.create("through the published port")
        assert api.titles() == ["through the published port"]


def test_secrets_are_asked_for_outside_development(image, database, network):
    """With PostgreSQL nothing is made up: the start stops and names what is missing."""
    with container(image, env={"DATABASE_URL": database}, network=network) as daemon:
        assert daemon.exit_code(30) == 2
        for name in ("SESSION_HASH_SECRET", "SERVICE_AUTH_TOKEN", "ENCRYPTION_KEY"):
            assert name in daemon.logs()


def test_runs_on_postgresql(image, database, network):
    values = new_secrets()
    environment = {**values, "DATABASE_URL": database, "ENVIRONMENT": "production"}
    with container(image, env=environment, network=network) as daemon:
        api = daemon.api(values["SERVICE_AUTH_TOKEN"])
        api.wait()
        api.create("on PostgreSQL")
        assert api.titles() == ["on PostgreSQL"]
        for value in values.values():
            assert value not in daemon.logs()
