"""The compose file: services that start what is there, with settings that the programs take."""

import re

import pytest
import yaml

from compute.settings.envfile import SHEETS, envfile
from compute.settings.loading import leaves, load, variable
from tests.command import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
ROLES = sorted(SHEETS)
# What the compose specification knows, as far as it is used here: a misspelt key is refused.
SERVICE_KEYS = {
    *("image", "build", "command", "env_file", "environment", "ports", "volumes", "profiles"),
    *("restart", "init", "read_only", "tmpfs", "cap_drop", "cap_add", "security_opt", "user"),
    *("stop_grace_period", "logging", "network_mode", "pid"),
}
SETTING = re.compile(r"^(COMPUTE_\w+)=(.*)$", re.MULTILINE)


def environment(role: str) -> dict[str, str]:
    """What a role's container has: the example of its file, overridden by the service."""
    return dict(SETTING.findall(envfile(role))) | SERVICES[role]["environment"]


def test_every_key_is_one_of_composes():
    """The file has services and volumes, and each service only keys that compose knows."""
    assert {key for key in COMPOSE if not key.startswith("x-")} == {"name", "services", "volumes"}
    for name, service in SERVICES.items():
        assert set(service) <= SERVICE_KEYS, name
        assert "image" in service, name


@pytest.mark.parametrize("role", ROLES)
def test_a_roles_command_and_settings_are_taken_by_its_program(role):
    """Every variable is a setting of that program; the command parses with the settings loader."""
    sheet, service = SHEETS[role], SERVICES[role]
    script, *arguments = service["command"]
    assert script == sheet.program
    assert (ROOT / script).is_file()
    assert service["env_file"] == f"{role}.env"
    known = {variable(path) for path, _ in leaves(sheet.model)} | {"HOME"}
    assert set(service["environment"]) <= known
    loaded = load(sheet.model, arguments, prog=role, environ=environment(role))
    assert str(loaded.state) == f"/var/lib/compute/{role}"
    if role == "checker":
        assert loaded.every == 600
    if role == "submitter":
        assert loaded.role == "submitter"


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_writes_lasts(role):
    """State and home lie on a volume; keys are mounted for reading alone."""
    service = SERVICES[role]
    places = {}
    for volume in service["volumes"]:
        source, target, *mode = re.sub(r"\$\{[^}]*\}", "wallets", volume).split(":")
        places[target] = (source, mode)
    state = service["environment"]["COMPUTE_STATE"]
    assert service["environment"]["HOME"] == state
    source, mode = places[state]
    assert mode == []
    assert source in COMPOSE["volumes"] or source == state
    assert places["/var/lib/compute/wallets"] == ("wallets", ["ro"])


@pytest.mark.parametrize("role", ROLES)
def test_containers_are_held_in_and_reached_from_this_machine_alone(role):
    """Read-only, no capability but the miner's few, no port on a public address."""
    service = SERVICES[role]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    if role != "miner":
        assert not {"cap_add", "network_mode", "user", "pid"} & set(service)
        assert not any("docker.sock" in volume for volume in service["volumes"])


def test_mounted_files_and_metrics_are_there():
    """What is mounted from the checkout exists; Prometheus looks where the services answer."""
    for name, service in SERVICES.items():
        for volume in service["volumes"]:
            if volume.startswith("./"):
                assert (DEPLOY / volume.split(":")[0]).exists(), f"{name}: {volume}"
    jobs = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())["scrape_configs"]
    targets = {t for job in jobs for group in job["static_configs"] for t in group["targets"]}
    published = {port.rsplit(":", 1)[0] for s in SERVICES.values() for port in s.get("ports", ())}
    assert published <= targets
    assert f"127.0.0.1:{SERVICES['miner']['environment']['COMPUTE_DASHBOARD_PORT']}" in targets


def test_the_image_holds_what_the_commands_need():
    """What the Dockerfile copies is there, and what git leaves out is not sent to the engine."""
    copied = re.findall(r"^COPY (.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    for name in {name for line in copied for name in line.split()}:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in kept, name
    assert kept[1] == "*"
