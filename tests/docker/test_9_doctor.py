"""What `todoctl doctor` proposes about a daemon in a container works where it is typed: on the host."""

import json
import os

import pytest

from conftest import Postgres
from support import container, docker, new_secrets, run, until


@pytest.fixture
def values():
    return {**new_secrets(), "ENVIRONMENT": "production"}


def check(*command, id):
    """What the command's report has of a check."""
    done = run(*command, "doctor", "--only", id, "--format", "json", check=False)
    # A note may come before the report.
    report = json.loads(done.stdout[done.stdout.index("{"):])
    return next(one for one in report["checks"] if one["id"] == id)


def typed(remedy):
    run("sh", "-e", stdin=remedy)


def test_remedies_after_docker_exec(image, network, values):
    server = Postgres(network)
    try:
        server.psql("postgres", "CREATE DATABASE todo")
        environment = {**values, "DATABASE_URL": server.url("todo")}
        with container(image, env=environment, network=network) as daemon:
            daemon.api().wait()
            command = ["docker", "exec", daemon.name, "todoctl"]
            id = daemon.inspect("{{.Id}}")[:12]

            server.psql("todo", "ALTER TABLE tasks RENAME TO canary")
            found = check(*command, id="database.schema")
            assert found["outcome"] == "fail", found
            assert f"docker exec {id} todoctl db psql " in found["remedy"], found
            typed(found["remedy"])
            assert check(*command, id="database.schema")["outcome"] == "pass"

            docker("kill", "--signal", "STOP", daemon.name)
            found = check(*command, id="daemon.port")
            assert found["remedy"] == f"docker kill --signal CONT {id}", found
            typed(found["remedy"])
            assert check(*command, id="daemon.port")["outcome"] == "pass"

            # A container that does not run has no name.
            docker("stop", "-t", "5", server.name)
            found = check(*command, id="database.dns")
            assert f"docker compose up -d {server.name}" in found["remedy"], found
    finally:
        server.container.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the processes of containers")
def test_remedies_on_the_host(image, values, volume, tmp_path):
    file = tmp_path / ".env"
    secret = values.pop("SERVICE_AUTH_TOKEN")
    variables = {**values, "DATABASE_URL": "sqlite:///data/todo.db", "SERVICE_AUTH_TOKEN_FILE": "/data/token"}
    file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    file.chmod(0o600)
    prepare = f"umask 077; printf {secret} > /data/token; chown -R 1000:1000 /data"
    docker("run", "--rm", "-u", "0", "-v", f"{volume}:/data", "debian:bookworm-slim", "sh", "-c", prepare)
    options = ["-v", f"{volume}:/data", "--env-file", file]
    with container(image, options=options) as daemon:
        daemon.api().wait()
        program = tmp_path / "todoctl"
        docker("cp", f"{daemon.name}:/usr/local/bin/todoctl", program)
        pid = daemon.inspect("{{.State.Pid}}")

        # By the number of its process, and by the file that has its variables.
        for command in ([program, "--pid", pid], [program, "--env-file", file]):
            assert check(*command, id="database.connection")["outcome"] == "pass"
            docker("run", "--rm", "-u", "0", "-v", f"{volume}:/data", "debian:bookworm-slim", "chmod", "644", "/data/token")
            found = check(*command, id="config.secret_files")
            assert found["outcome"] == "warn", found
            typed(found["remedy"])
            assert check(*command, id="config.secret_files")["outcome"] == "pass"

        docker("pause", daemon.name)
        found = check(program, "--pid", pid, id="daemon.port")
        typed(found["remedy"])
        until("it goes on", lambda: daemon.api().status("/health/live") == 200)
        docker("unpause", daemon.name, check=False)
