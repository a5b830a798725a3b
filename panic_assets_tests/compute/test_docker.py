"""The files in docker/, checked as far as that goes without an engine: their commands are run for real."""

import contextlib
import importlib.metadata
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from panic_assets.instance import embedded_postgres
from panic_assets.settings import PROJECT

DOCKER = PROJECT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = ("code", "webserver", "daemon")


def stages():
    """Target -> its instructions [(word, rest)], those of the stage it is built from first."""
    text = re.sub(r"^\s*#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    found, current = {}, None
    for line in filter(str.strip, text.splitlines()):
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            image, _, name = re.fullmatch(r"(\S+)( AS (\S+))?", rest).groups()
            current = found[name] = [*found.get(image, [("FROM", image)])]
        else:
            current.append((word, " ".join(rest.split())))
    return found


STAGES = stages()
TARGETS = ("control", "code")


def copies(target):
    """(sources, destination) of every COPY of a target."""
    for word, rest in STAGES[target]:
        if word == "COPY":
            *sources, destination = [part for part in rest.split() if not part.startswith("--")]
            yield sources, destination


# --- images ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_images_run_as_a_user_from_a_pinned_base(target):
    instructions = STAGES[target]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", instructions[0][1])
    assert [rest for word, rest in instructions if word == "USER"] == ["panic"]
    assert instructions[-1] == ("USER", "panic")
    assert not any(word == "ADD" for word, _ in instructions)
    for _, command in filter(lambda i: i[0] == "RUN", instructions):
        assert "curl" not in command
        assert "apt-get install" not in command or "rm -rf /var/lib/apt/lists/*" in command
        assert "pip install" not in command or "--constraint constraints.txt" in command


@pytest.mark.parametrize("target", TARGETS)
def test_all_that_is_copied_exists_and_is_not_ignored(target):
    ignore = (DOCKER / "Dockerfile.dockerignore").read_text().split()
    for sources, _ in copies(target):
        for source in sources:
            assert (PROJECT / source).exists()
            assert f"!{source.split('/')[0]}" in ignore


def closure(names):
    """Names of the installed distributions that these need, with the extras they name, themselves included."""
    seen, queue = set(), [Requirement(name) for name in names]
    while queue:
        wanted = queue.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        for extra in {"", *wanted.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                needs = map(Requirement, importlib.metadata.requires(name) or [])
                queue += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


CONTROL = """
import sys
absent = set(sys.argv[1].split(","))
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in absent:
            raise ModuleNotFoundError(f"the control image has no {name}", name=name)
sys.meta_path.insert(0, Refuse())
import dagster_k8s, panic_assets.instance.webserver
import dagster._daemon.cli
from dagster import DagsterInstance
with DagsterInstance.from_config(sys.argv[2]) as instance:
    print(type(instance).__name__, type(instance.event_log_storage).__name__, type(instance.run_launcher).__name__)
"""


@pytest.mark.slow
def test_the_control_image_has_all_that_our_instance_imports(tmp_path):
    """Only what control.txt brings may be imported: the image without torch must open the same instance."""
    lines = (DOCKER / "control.txt").read_text().splitlines()
    dists = closure(line for line in lines if not line.startswith("#"))
    absent = {
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if not {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners} & dists
    } - {"_distutils_hack", "panic_assets"}
    assert {"torch", "duckdb", "pyarrow"} <= absent
    shutil.copy(PROJECT / "dagster.yaml", tmp_path)
    result = subprocess.run(
        [sys.executable, "-c", CONTROL, ",".join(absent), str(tmp_path)],
        cwd=PROJECT,
        env={**os.environ, "DAGSTER_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.startswith("PanicInstance ")


# --- compose --------------------------------------------------------------------------------------


def test_every_service_is_watched_pinned_and_restarted():
    for name, service in SERVICES.items():
        assert re.search(r":\d+\.\d+", service["image"]), name
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"
        for needed in service.get("depends_on", {}):
            assert "healthcheck" in SERVICES[needed]
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (DOCKER / source).resolve().exists()
    for name in OURS:
        service = SERVICES[name]
        assert service["build"]["target"] in TARGETS
        assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).exists()
        assert service["cap_drop"] == ["ALL"]
        assert "home:/data" in service["volumes"]


def test_the_ui_is_offered_to_this_machine_only():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:3000:3000"]


def test_the_webserver_is_ours_and_asks_for_a_password():
    webserver = SERVICES["webserver"]
    assert webserver["command"][:3] == ["python", "-m", "panic_assets.instance.webserver"]
    assert webserver["environment"]["PANIC_WEB_PASSWORD"].startswith("${PANIC_WEB_PASSWORD:?")


def test_the_cards_are_reserved_for_the_service_that_computes():
    gpu = yaml.safe_load((DOCKER / "compose.gpu.yaml").read_text())
    assert list(gpu["services"]) == ["code"]
    [devices] = gpu["services"]["code"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


def test_no_password_is_written_down():
    for path in [*DOCKER.glob("*.yaml"), *(DOCKER / "kubernetes").glob("*")]:
        for line in path.read_text().splitlines():
            if re.search(r"password\w*\s*[:=]", line, re.I) and not line.lstrip().startswith("#"):
                assert re.search(r"\$\{PANIC_\w+_PASSWORD:\?", line) or "secret" in line.lower(), (path, line)


# --- the commands, run by hand ----------------------------------------------------------------------


def free_ports(count):
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [str(probe.getsockname()[1]) for probe in probes]


def image_folder(target, folder):
    """What the COPY instructions put into the working directory of an image."""
    for sources, destination in copies(target):
        if destination.startswith("/"):
            continue
        for source in sources:
            path = PROJECT / source
            if path.is_dir():
                shutil.copytree(
                    path, folder / destination, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
                )
            else:
                (folder / destination).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / destination)
    return folder


class Host:
    """This machine in the place of the containers: services share a home, a database and free ports."""

    def __init__(self, folder, postgres_url):
        code, web = free_ports(2)
        self.ports = {"4000": code, "3000": web}
        self.folder = folder
        self.variables = {
            **os.environ,
            **COMPOSE["x-environment"],
            "PANIC_WEB_PASSWORD": "correct horse battery",
            "DAGSTER_HOME": str(folder / "data" / "dagster"),
            "PANIC_HOME": str(folder / "data"),
            "PANIC_POSTGRES_URL": postgres_url,
            "PANIC_CODE_HOST": "127.0.0.1",
            "PANIC_CODE_PORT": code,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        (folder / "data").mkdir()
        for target in TARGETS:
            (folder / target).mkdir()
            image_folder(target, folder / target)

    def start(self, command, service, **options):
        """The command in its image's folder, started as the image's entry point would."""
        here = [self._here(word) for word in command]
        target = self.folder / SERVICES[service]["build"]["target"]
        environment = {**self.variables, "PYTHONPATH": str(target)}
        return subprocess.Popen([DOCKER / "start.sh", *here], cwd=target, env=environment, **options)

    def healthy(self, service):
        """Whether the service's own health check passes."""
        check = SERVICES[service]["healthcheck"]["test"][1:]
        return self.start(check, service, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait(300) == 0

    def _here(self, word):
        for inside, outside in self.ports.items():
            word = re.sub(rf"\b{inside}\b", outside, word)
        return word.replace("0.0.0.0", "127.0.0.1")


@pytest.mark.slow
@pytest.mark.skipif(not embedded_postgres.available(), reason="no PostgreSQL to be had")
def test_the_commands_of_the_services_start_and_their_health_checks_pass(tmp_path):
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(embedded_postgres.server(tmp_path / "postgres"))
        host = Host(tmp_path, url)
        logs = {name: (tmp_path / f"{name}.log").open("w") for name in OURS}
        assert not host.healthy("code")
        for name in OURS:
            command = SERVICES[name]["command"]
            process = host.start(command, name, stdout=logs[name], stderr=subprocess.STDOUT, start_new_session=True)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        deadline = time.monotonic() + 500
        waiting = set(OURS)
        while waiting:
            told = {name: (tmp_path / f"{name}.log").read_text()[-2000:] for name in waiting}
            assert time.monotonic() < deadline, told
            waiting -= {name for name in waiting if host.healthy(name)}
        assert (tmp_path / "data" / "dagster" / "dagster.yaml").read_text() == (PROJECT / "dagster.yaml").read_text()


def test_the_entry_point_brings_our_instance_file_and_leaves_a_mounted_one_alone():
    folder = Path(tempfile.mkdtemp())
    home = folder / "home"
    home.mkdir()
    (folder / "dagster.yaml").write_text("of the image")
    instance = home / "dagster.yaml"
    someone = 1000 if os.geteuid() == 0 else None  # root may write anywhere
    for path in (folder, home):
        path.chmod(0o777)

    def start():
        command = ["sh", "-c", (DOCKER / "start.sh").read_text(), "panic-start", "echo", "became", "it"]
        environment = {**os.environ, "DAGSTER_HOME": str(home)}
        ran = subprocess.run(command, cwd=folder, env=environment, user=someone, capture_output=True, text=True)
        assert (ran.stdout, ran.stderr, ran.returncode) == ("became it\n", "", 0)
        return instance.read_text()

    assert start() == "of the image"
    instance.write_text("of an older image")
    assert start() == "of the image"
    instance.unlink()
    instance.write_text("mounted")
    instance.chmod(0o444)
    assert start() == "mounted"
    assert [path.name for path in home.iterdir()] == ["dagster.yaml"]
    shutil.rmtree(folder)
