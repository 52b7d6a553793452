"""The container files, read without a container engine: schema, hardening, and that they name
only what exists."""

import json
import re
import subprocess
from functools import cache
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from fhir_server.seed_settings import known_names
from tests.command_line import assert_command

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILES = ("docker-compose.yml", "deploy/docker/compose.dev.yml")
NOT_SECRET = (
    *("MEDSAGE_SECRETS_DIR", "GF_SECURITY_COOKIE_SECURE"),
    *("MEDSAGE_PASSWORD_LENGTH", "MEDSAGE_ACCESS_TOKEN_SECONDS"),
)
ROLES = ("server", "worker", "app")
MADE_BY_DEPLOY = "./deploy/secrets/tls:"
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+(-[\w.-]+)?")


@cache
def read(path: str) -> Any:
    text = (ROOT / path).read_text("utf-8")
    return json.loads(text) if path.endswith(".json") else yaml.safe_load(text)


def services() -> dict[str, Any]:
    found: dict[str, Any] = read("docker-compose.yml")["services"]
    return found


def hosts_files(service: dict[str, Any]) -> list[str]:
    """The files of this repository that a service is given."""
    return [volume.split(":")[0] for volume in service.get("volumes", ()) if volume[0] == "."]


@pytest.mark.parametrize("path", COMPOSE_FILES)
def test_compose_files_follow_the_schema_of_the_specification(path: str) -> None:
    schema = read("tests/samples/compose/compose-spec.json")
    problems = jsonschema.Draft202012Validator(schema).iter_errors(read(path))
    assert [f"{problem.json_path}: {problem.message}" for problem in problems] == []


def test_the_schema_refuses_a_misspelt_member() -> None:
    schema = read("tests/samples/compose/compose-spec.json")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(
            {"services": {"a": {"image": "a", "helthcheck": {}}}}
        )


def test_all_parts_of_the_production_shape_are_there() -> None:
    assert set(services()) == {
        "nginx", "acme", "server", "worker", "app", "mongo-1", "mongo-2", "mongo-3", "mongo-init",
        "redis", "prometheus", "alertmanager", "grafana",
    }  # fmt: skip


def test_only_nginx_is_published() -> None:
    assert [name for name, service in services().items() if "ports" in service] == ["nginx"]
    assert all("network_mode" not in service for service in services().values())


@pytest.mark.parametrize("path", COMPOSE_FILES)
def test_every_container_is_hardened(path: str) -> None:
    for name, service in read(path)["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["user"].split(":")[0] not in ("", "0", "root"), name
        assert not service.get("privileged"), name
        assert all("docker.sock" not in volume for volume in service.get("volumes", ())), name


@pytest.mark.parametrize("path", COMPOSE_FILES)
def test_no_container_can_take_the_whole_machine(path: str) -> None:
    for name, service in read(path)["services"].items():
        for limit in ("mem_limit", "cpus", "pids_limit"):
            assert service.get(limit), f"{name}: {limit}"
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name


@pytest.mark.parametrize("path", COMPOSE_FILES)
def test_what_a_container_may_write_to_memory_fits_into_its_memory(path: str) -> None:
    """A tmpfs that is full refuses a write; memory that is full ends the container."""
    for name, service in read(path)["services"].items():
        sizes = re.findall(r"size=(\d+)m", " ".join(service.get("tmpfs", ())))
        assert sum(map(int, sizes)) < megabytes(service["mem_limit"]), name


def megabytes(text: str) -> int:
    return int(text[:-1]) * {"m": 1, "g": 1024}[text[-1]]


@pytest.mark.parametrize("path", COMPOSE_FILES)
def test_our_containers_run_commands_that_exist(path: str) -> None:
    services = read(path)["services"]
    ours = {name: each for name, each in services.items() if each["image"].startswith("medsage-")}
    assert set(ours) in (set(ROLES), {"medsage"})
    for service in ours.values():
        assert_command(service["command"])


def test_every_service_that_stays_has_a_health_check() -> None:
    for name, service in services().items():
        if service["restart"] != "no":
            assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name


def test_images_are_pinned_to_a_full_version() -> None:
    for name, service in services().items():
        image = service["image"]
        assert PINNED.fullmatch(re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", image)), f"{name}: {image}"


def test_networks_volumes_and_secrets_exist_and_are_used() -> None:
    whole = read("docker-compose.yml")
    for kind in ("networks", "secrets"):
        used = {each for service in services().values() for each in service.get(kind, ())}
        assert used == set(whole[kind]), kind
    mounted = {
        volume.split(":")[0]
        for service in services().values()
        for volume in service.get("volumes", ())
        if volume[0] not in "./"
    }
    assert mounted == set(whole["volumes"])


def test_mounted_files_exist_and_are_read_only() -> None:
    for name, service in services().items():
        for volume in service.get("volumes", ()):
            if volume.startswith(MADE_BY_DEPLOY):
                # nginx reads what the authority's client writes.
                assert volume.endswith(":ro") == (name != "acme"), f"{name}: {volume}"
            elif volume[0] == ".":
                assert (ROOT / volume.split(":")[0]).exists(), f"{name}: {volume}"
                assert volume.endswith(":ro"), f"{name}: {volume}"


def test_networks_keep_the_parts_apart() -> None:
    nets = {name: set(service["networks"]) for name, service in services().items()}
    assert "data" not in nets["nginx"] | nets["app"] | nets["prometheus"] | nets["grafana"]
    assert [name for name, joined in nets.items() if "edge" in joined] == ["nginx"]
    assert [name for name, joined in nets.items() if "outside" in joined] == [
        "acme",
        "server",
        "worker",
        "app",
        "alertmanager",
    ]
    networks = read("docker-compose.yml")["networks"]
    assert {name for name, network in networks.items() if not network.get("internal")} == {
        "edge",
        "outside",
    }


def test_services_start_after_what_they_need_and_in_no_circle() -> None:
    order: list[str] = []
    waiting = {name: set(service.get("depends_on", ())) for name, service in services().items()}
    while waiting:
        ready = [name for name, needs in waiting.items() if needs <= set(order)]
        assert ready, f"a circle: {waiting}"
        order += ready
        for name in ready:
            del waiting[name]
    for before, after in (("mongo-init", "server"), ("server", "worker"), ("app", "nginx")):
        assert order.index(before) < order.index(after)
    for service in services().values():
        for needed, how in service.get("depends_on", {}).items():
            is_job = services()[needed]["restart"] == "no"
            expected = "service_completed_successfully" if is_job else "service_healthy"
            assert how["condition"] == expected


@pytest.mark.parametrize("path", COMPOSE_FILES)
def test_every_setting_named_is_a_setting(path: str) -> None:
    for service in read(path)["services"].values():
        named = {name for name in service.get("environment", {}) if name.startswith("MEDSAGE_")}
        named |= {
            name.upper() for name in service.get("secrets", ()) if name.startswith("medsage_")
        }
        assert named <= known_names()


def test_no_secret_stands_in_an_environment() -> None:
    secret = re.compile("PASSWORD|SECRET|TOKEN|KEY|URI|REDIS_URL")
    for name, service in services().items():
        for variable, value in service.get("environment", {}).items():
            if secret.search(variable) and variable not in NOT_SECRET:
                assert str(value).startswith("/run/secrets/"), f"{name}: {variable}"


def test_the_three_roles_run_one_entry_point() -> None:
    for role in ROLES:
        service = services()[role]
        assert service["command"][:3] == ["serve", "--role", role]
        assert (ROOT / service["build"]["dockerfile"]).is_file()
        assert service["environment"]["MEDSAGE_PROFILE"] == "prod"
        extras = read_extras()
        assert set(service["build"]["args"]["EXTRAS"].split(",")) <= extras


def read_extras() -> set[str]:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return set(project["optional-dependencies"])


def test_nginx_alone_is_trusted_to_say_whom_it_speaks_for() -> None:
    address = services()["nginx"]["networks"]["inside"]["ipv4_address"]
    for role in ROLES:
        assert services()[role]["environment"]["MEDSAGE_TRUSTED_PROXIES"] == address
        # By another network its requests would come from another address.
        assert set(services()[role]["networks"]) & set(services()["nginx"]["networks"]) == {
            "inside"
        }


def test_the_address_of_nginx_is_given_to_nobody_else() -> None:
    address = ip_address(services()["nginx"]["networks"]["inside"]["ipv4_address"])
    (pool,) = read("docker-compose.yml")["networks"]["inside"]["ipam"]["config"]
    subnet, given = IPv4Network(pool["subnet"]), IPv4Network(pool["ip_range"])
    assert address in subnet
    assert given.subnet_of(subnet)
    assert address not in given


def test_mongod_may_have_a_thread_for_every_connection() -> None:
    processes_of_ours = 20
    for member in ("mongo-1", "mongo-2", "mongo-3"):
        assert services()[member]["pids_limit"] > processes_of_ours * 100


@pytest.mark.parametrize("path", sorted((ROOT / "deploy/docker").glob("*.Dockerfile")))
def test_dockerfiles_pin_their_bases_and_do_not_run_as_root(path: Path) -> None:
    lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert len(bases) >= 2, "one stage builds, another runs"
    assert all(PINNED.fullmatch(base) for base in bases)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1].split(":")[0] not in ("0", "root")
    assert any(line.startswith("HEALTHCHECK ") for line in lines)
    assert not any(line.startswith("ADD ") for line in lines)
    for line in lines:
        if line.startswith(("ENV ", "ARG ")):
            assert not re.search("PASSWORD|SECRET|TOKEN|_KEY", line)


def test_what_goes_to_the_builder_is_listed_and_exists() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in lines
    assert {"deploy/secrets", "deploy/issuers"} <= set(lines), "keys and passwords"
    for line in lines:
        if line.startswith("!"):
            assert (ROOT / line[1:]).exists(), line


def test_prometheus_scrapes_every_role_where_its_metrics_are() -> None:
    jobs = {
        job["job_name"]: job for job in read("deploy/prometheus/prometheus.yml")["scrape_configs"]
    }
    for role in ROLES:
        assert jobs[role]["metrics_path"] == "/api/metrics"
        assert jobs[role]["dns_sd_configs"][0]["names"] == [role]
        assert "watch" in services()[role]["networks"]


def test_dashboards_use_the_provisioned_source_and_do_not_overlap() -> None:
    provisioned = read("deploy/grafana/provisioning/datasources/prometheus.yml")
    sources = {source["uid"] for source in provisioned["datasources"]}
    for path in (ROOT / "deploy/grafana/dashboards").glob("*.json"):
        panels = json.loads(path.read_text("utf-8"))["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            assert panel["datasource"]["uid"] in sources
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, panel["title"]
            assert place["x"] + place["w"] <= 24
            taken |= cells


def test_grafana_finds_its_dashboards_where_compose_puts_them() -> None:
    provider = read("deploy/grafana/provisioning/dashboards/files.yml")["providers"][0]
    targets = [volume.split(":")[1] for volume in services()["grafana"]["volumes"]]
    assert provider["options"]["path"] in targets


def test_the_shell_scripts_can_be_parsed() -> None:
    scripts = [ROOT / "deploy.sh", *sorted(ROOT.glob("deploy/*/*.sh"))]
    assert len(scripts) > 5
    for path in scripts:
        shell = path.read_text("utf-8").splitlines()[0].split()[-1].rpartition("/")[2]
        assert shell in ("bash", "sh"), path
        subprocess.run([shell, "-n", str(path)], check=True)


def test_the_upstreams_of_containers_are_the_services_and_their_ports() -> None:
    text = (ROOT / "deploy/nginx/upstreams.conf").read_text("utf-8")
    named = re.findall(r"server (\w+):(\d+) resolve ", text)
    assert [name for name, _ in named] == re.findall(r"^upstream (\w+)", text, re.MULTILINE)
    for name, port in named:
        assert services()[name]["command"][5:7] == ["--port", port]


def test_nginx_finds_its_files_where_each_form_puts_them() -> None:
    named = set(re.findall(r"\binclude (\S+);", (ROOT / "deploy/nginx/nginx.conf").read_text()))
    beside = named - {"/etc/nginx/mime.types"}
    assert beside == {"proxy.conf", "upstreams.conf"}
    door = services()["nginx"]
    assert "./deploy/nginx:/opt/nginx:ro" in door["volumes"]
    for word in (*door["entrypoint"], *(f"/opt/nginx/{name}" for name in beside)):
        if word.startswith("/opt/"):
            assert (ROOT / "deploy/nginx" / word.removeprefix("/opt/nginx/")).is_file(), word
    # The configuration that is looked at and taken up is the one that runs.
    read_anew = re.findall(r"nginx -c (\S+) -", (ROOT / "deploy.sh").read_text("utf-8"))
    assert set(read_anew) == {door["entrypoint"][door["entrypoint"].index("-c") + 1]}
    cluster = (ROOT / "deploy/kubernetes/base/nginx.yaml").read_text("utf-8")
    assert all(f"mountPath: /etc/nginx/{name}," in cluster for name in ("nginx.conf", *beside))
