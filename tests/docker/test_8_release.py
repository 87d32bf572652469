"""scripts/release: the archive, packed from the image's binary."""

import tarfile

from support import ROOT, docker, run


def test_release_archive(image, tmp_path):
    name = docker("create", "--label", "todoctl-test=1", image)
    try:
        docker("cp", f"{name}:/usr/local/bin/todoctl", tmp_path / "todoctl")
    finally:
        docker("rm", name)
    archives = []
    for folder in ("one", "two"):
        run(ROOT / "scripts/release", tmp_path / folder, env={"TODOCTL": str(tmp_path / "todoctl")})
        (archive,) = (tmp_path / folder).glob("todoctl-*.tar.gz")
        run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=tmp_path / folder)
        archives.append(archive.read_bytes())
    assert archives[0] == archives[1], "the same content makes the same archive"

    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path)
    folder = tmp_path / archive.name.removesuffix(".tar.gz")
    assert run(folder / "todoctl", "--version").stdout.startswith("todoctl ")
    commands = {line.split()[0] for line in
                run(folder / "todoctl", "help").stdout.split("Commands:")[1].split("Options:")[0].splitlines()
                if line.startswith("  ") and line[2] != " "}
    assert {"serve", "migrate", "health", "man"} <= commands
    for command in commands - {"help"}:
        assert (folder / f"man/man1/todoctl-{command}.1").is_file(), command
        for shell in ("bash", "zsh", "fish"):
            assert command in (folder / f"completions/todoctl.{shell}").read_text()
    run("bash", "-n", folder / "completions/todoctl.bash")
    for file in ("LICENSE", "README.md", "CHANGELOG.md", "todoctl.service", "todoctl-doctor.service",
                 "todoctl-doctor.timer", ".env.example"):
        assert (folder / file).stat().st_size > 0
