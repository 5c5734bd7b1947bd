"""The two Dockerfiles, read without Docker: pinned, non-root, and started as the chart expects."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from mistral_dev.images import rootfs, server_image
from mistral_dev.paths import CHECKOUT
from mistral_operator.render import pod
from mistral_server import contract
from mistral_server.engine import model_registry


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, with its continuation lines joined."""

    name: str
    value: str


def instructions(part: str) -> list[Instruction]:
    """Read ``part``/Dockerfile; the lines of a here-document belong to the RUN before them."""
    lines = (CHECKOUT / part / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    result: list[Instruction] = []
    end = None
    for line in text.splitlines():
        if end is not None:
            end = None if line == end else end
            continue
        if line.strip():
            name, _, value = line.partition(" ")
            result.append(Instruction(name, " ".join(value.split())))
            here = re.search(r"<<'(\w+)'$", line)
            end = here[1] if here else None
    return result


def values(part: str, name: str) -> list[str]:
    return [result.value for result in instructions(part) if result.name == name]


def variables(part: str) -> dict[str, str]:
    (value,) = values(part, "ENV")
    return dict(pair.split("=", 1) for pair in value.split())


both = pytest.mark.parametrize("part", ["operator", "server"])


@both
def test_every_base_image_has_a_version_and_can_be_pinned_by_digest(part: str) -> None:
    pattern = r"[\w./-]+:v?\d+\.\d+[\w.-]*\$\{(\w+_DIGEST):\+@\$\{\1\}\}( AS build)?"
    for image in values(part, "FROM"):
        pinned = re.fullmatch(pattern, image)
        assert pinned, image
        assert f'{pinned[1]}=""' in values(part, "ARG")


def test_the_server_stands_on_the_vllm_that_is_tested() -> None:
    declared = (CHECKOUT / "pyproject.toml").read_text()
    version = re.search(r'"vllm==([\d.]+)"', declared)
    assert version
    assert values("server", "FROM")[-1].startswith(f"vllm/vllm-openai:v{version[1]}$")


@both
def test_it_runs_as_the_same_user_as_the_development_image(part: str) -> None:
    assert values(part, "USER") == [rootfs.USER]


def test_the_server_runs_as_the_user_of_the_pods_that_the_operator_renders() -> None:
    assert f"{pod.USER}:{pod.USER}" == rootfs.USER


def test_the_image_exposes_the_servers_ports() -> None:
    fields = contract.ServerSettings.model_fields
    ports = (fields["port"].default, fields["health_port"].default)
    assert ports == server_image.PORTS
    assert values("server", "EXPOSE") == [" ".join(str(port) for port in ports)]


@both
def test_it_starts_our_program_and_nothing_in_front_of_it(part: str) -> None:
    (entrypoint,) = values(part, "ENTRYPOINT")
    assert json.loads(entrypoint) == [f"mistral-{part}"]


@both
def test_it_installs_only_wheels_with_pinned_hashes_or_our_own(part: str) -> None:
    for command in values(part, "RUN"):
        for install in re.findall(r"pip(?: --python \S+)? install [^&]+", command):
            ours = install.strip().endswith("/dist/*.whl") and "--no-index" in install
            assert ours or {"--require-hashes", "--only-binary=:all:"} <= set(install.split())


@both
def test_everything_it_copies_is_in_the_repository(part: str) -> None:
    for copy in values(part, "COPY"):
        sources = [word for word in copy.split()[:-1] if not word.startswith("--")]
        if "--from=build" not in copy:
            assert all((CHECKOUT / source).exists() for source in sources), copy


@both
def test_nothing_is_written_outside_tmp(part: str) -> None:
    assert values(part, "WORKDIR")[-1] == "/tmp"
    directories = {
        name: value
        for name, value in variables(part).items()
        if value.startswith("/") and name not in {"PATH", model_registry.LEARNED_ENV}
    }
    assert "HOME" in directories
    assert all(Path(value).is_relative_to("/tmp") for value in directories.values()), directories


def test_the_development_image_keeps_its_caches_where_the_real_one_does() -> None:
    real = variables("server")
    for name, value in server_image.VARIABLES.items():
        if value.startswith("/tmp"):
            assert real.get(name, value) == value


def test_a_container_that_requests_no_gpus_sees_none() -> None:
    assert variables("server")["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_the_variable_names_the_model_information_of_the_image() -> None:
    path = variables("server")[model_registry.LEARNED_ENV]
    command = f"mistral-server learn-model {path} "
    assert any(run.startswith(command) for run in values("server", "RUN"))
    assert path == server_image.LEARNED == server_image.VARIABLES[model_registry.LEARNED_ENV]


def test_of_the_servers_lock_only_mistral_common_is_taken() -> None:
    (command,) = [run for run in values("server", "RUN") if run.startswith("awk")]
    program = re.search(r"awk '([^']+)'", command)
    assert program
    lock = CHECKOUT / "server" / "requirements.txt"
    done = subprocess.run(["awk", program[1], lock], capture_output=True, text=True, check=True)
    first, *hashes = done.stdout.splitlines()
    assert re.match(r"mistral-common==1\.(11|12)\.\d+ ", first)
    assert hashes
    assert all(line.strip().startswith("--hash=sha256:") for line in hashes)
