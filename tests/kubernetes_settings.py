"""What must hold between the Kubernetes manifests and the program: commands, settings, probes,
the way down, and the ways of the network that the settings name."""

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from typer.exceptions import TyperException

from deploy.health import Readiness, health_router
from deploy.refusals import problems
from deploy.secret_files import MEMBERS, make_missing
from fhir_server.load_settings import UnusableSettings, load
from fhir_server.settings import Settings
from tests.command_line import assert_command
from tests.kubernetes_rendering import COMPONENT, ROLES, Rendering, Workload
from tests.network_policies import End, allows

SERVE_SECONDS = 20
"""Within which `medsage serve` ends after SIGTERM (deploy/commands/serve.py)."""
LOAD_BALANCER_SECONDS = 15
"""Until the cluster's load balancer is taken to have left a pod out."""
DOOR_SECONDS = 60
"""What nginx waits for an answer (deploy/nginx/nginx.conf)."""
OURS = (*ROLES, "job")
OUTSIDE = "203.0.113.9"
INSIDE = "10.1.2.3"
METADATA = ("169.254.169.254", "fd00:ec2::254")
PROMETHEUS = End("monitoring", {"app.kubernetes.io/name": "prometheus"})
RESOLVER = End("kube-system", {"k8s-app": "kube-dns"})
STRANGER = End("elsewhere", {"app.kubernetes.io/component": "nginx"})
Way = tuple[str, str, int]


def _ours(rendering: Rendering) -> list[Workload]:
    return [each for each in rendering.workloads() if each.component in OURS]


def commands(rendering: Rendering) -> Iterator[str]:
    """What the containers run is a command of `medsage` with options that it has, or a module."""
    for each in _ours(rendering):
        if command := each.container.get("command"):
            if command[:2] != ["python", "-m"] or find_spec(command[2]) is None:
                yield f"{each.name} runs {' '.join(command)}"
            continue
        arguments = each.container["args"]
        try:
            assert_command(arguments)
        except TyperException as problem:
            yield f"{each.name}: {problem}"
        role = rendering.environment(each).get("MEDSAGE_ROLE")
        wanted = each.component if each.component in ROLES else "worker"
        if role != wanted or (each.component in ROLES) != (arguments[0] == "serve"):
            yield f"{each.name} runs {arguments[0]} as {role}"


def settings(rendering: Rendering) -> Iterator[str]:
    """Each process finds settings that it starts with in its profile."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made"
        make_missing(made)
        for name in ("medsage_backup_s3_key_id", "medsage_backup_s3_key"):
            (made / name).chmod(0o600)
            (made / name).write_text(f"{name}-of-a-bucket")
        for each in _ours(rendering):
            own = Path(folder) / each.name.replace("/", "-")
            own.mkdir()
            for file in each.secret_files():
                if (made / file).exists():
                    (own / file).write_bytes((made / file).read_bytes())
            yield from _refused(each, _settings_of(rendering, each, own))


def _settings_of(rendering: Rendering, workload: Workload, secrets: Path) -> Settings | str:
    """As the process would find them; what is wrong with them when they can't be read."""
    environment = {
        name: value.replace("/run/secrets", str(secrets))
        for name, value in rendering.environment(workload).items()
    }
    try:
        return load(environment)[0]
    except UnusableSettings as problem:
        return str(problem)


def _refused(workload: Workload, found: Settings | str) -> Iterator[str]:
    if isinstance(found, str):
        yield f"{workload.name}: {found}"
        return
    yield from (f"{workload.name}: {each}" for each in problems(found))
    for each in (found.encryption_key_file, found.backup_key_file):
        if each is not None and not each.exists():
            yield f"{workload.name}: the file {each.name} is not among its secrets"
    needs_redis = found.profile != "dev" and workload.component in ("server", "app")
    if needs_redis and found.redis_url is None:
        yield f"{workload.name}: sessions and limits would be each process's own"
    if workload.component != "app" and found.mongodb_uri is None:
        yield f"{workload.name}: it would make a store of its own"


def probes(rendering: Rendering) -> Iterator[str]:
    """A role is asked where it answers: whether it lives, and whether it is ready."""
    router = health_router(Readiness({}, 1.0), CollectorRegistry(), "")
    paths = {getattr(route, "path", "") for route in router.routes}
    for each in rendering.workloads():
        container = each.container
        stays = each.made_by["kind"] in ("Deployment", "StatefulSet")
        asked = {
            name: container.get(f"{name}Probe") for name in ("startup", "liveness", "readiness")
        }
        if stays and None in asked.values():
            yield f"{each.name} is not asked how it is"
        if each.component not in ROLES:
            continue
        for name, path in (
            ("startup", "/health"),
            ("liveness", "/health"),
            ("readiness", "/health/ready"),
        ):
            found = (asked[name] or {}).get("httpGet", {})
            if found.get("path") != path or path not in paths or found.get("port") != "http":
                yield f"{each.name}: its {name} probe asks {found}"
        (port,) = container["ports"]
        arguments = container["args"]
        if str(port["containerPort"]) != arguments[arguments.index("--port") + 1]:
            yield f"{each.name} listens elsewhere than at {port['containerPort']}"


def way_down(rendering: Rendering) -> Iterator[str]:
    """Who goes still answers until names and nginx have forgotten it, and has the time to end in
    order afterwards."""
    for each in rendering.workloads():
        if each.component in ROLES:
            waits = int(rendering.environment(each).get("MEDSAGE_DRAIN_SECONDS", "3"))
            least, ends = _looks_again(rendering), SERVE_SECONDS
        elif each.component == "nginx":
            words = each.container.get("lifecycle", {}).get("preStop", {}).get("exec", {})
            waits = int(words.get("command", ["sleep", "0"])[1])
            least, ends = LOAD_BALANCER_SECONDS, DOOR_SECONDS
        else:
            continue
        if waits <= least:
            yield f"{each.name} ends while requests still come"
        if each.pod.get("terminationGracePeriodSeconds", 30) < waits + ends + 5:
            yield f"{each.name} is killed before it can have ended"


def _looks_again(rendering: Rendering) -> int:
    """After so many seconds nginx asks for names again."""
    texts = rendering.named("ConfigMap", "nginx")["data"]
    (seconds,) = re.findall(r"^resolver .* valid=(\d+)s", texts["upstreams.conf"], re.MULTILINE)
    return int(seconds)


def network(rendering: Rendering) -> Iterator[str]:
    """The policies let through what the settings name, and nothing else."""
    (space,) = rendering.of("Namespace")
    ends = {
        each.component: End(space["metadata"]["name"], each.labels)
        for each in rendering.workloads()
    }
    policies = rendering.of("NetworkPolicy")
    ports = _listening(rendering)
    open_ways = {
        (source, target, port)
        for source, (target, port) in product(ends, ports)
        if allows(policies, ends[source], ends[target], port)
    }
    wanted = set(_named_ways(rendering))
    yield from (f"the way {way} is needed and shut" for way in wanted - open_ways)
    yield from (f"the way {way} is open and nobody's" for way in open_ways - wanted)
    for component, port in ports:
        end = ends[component]
        for name, other, may in (
            ("Prometheus", PROMETHEUS, component in (*ROLES, "nginx")),
            ("a stranger", STRANGER, component == "nginx"),
            ("the world", End(address=OUTSIDE), component == "nginx"),
        ):
            if allows(policies, other, end, port) != may:
                yield f"{name} {'can not' if may else 'can'} reach {component} at {port}"
    for component, end in ends.items():
        yield from _ways_out(rendering, component, partial(allows, policies, end))
    newcomer = End(space["metadata"]["name"], {COMPONENT: "newcomer"})
    for other in (*ends.values(), STRANGER, End(address=OUTSIDE)):
        for source, target in ((newcomer, other), (other, newcomer)):
            if target is not ends["nginx"] and allows(policies, source, target, 5000):
                yield f"a pod that nobody knows is open: {source} reaches {target}"


def _ways_out(rendering: Rendering, component: str, reaches: Callable[..., bool]) -> Iterator[str]:
    """HTTPS for the roles and jobs, the stores for who has their address, nothing else at all."""
    files = {
        name
        for each in rendering.workloads()
        if each.component == component
        for name in each.secret_files()
    }
    outside, inside = End(address=OUTSIDE), End(address=INSIDE)
    expected = {
        "the world by HTTPS": (reaches(outside, 443), component in OURS),
        "the world otherwise": (any(reaches(outside, port) for port in (22, 80, 27017)), False),
        "MongoDB": (reaches(inside, 27017), "medsage_mongodb_uri" in files),
        "Redis": (reaches(inside, 6379), "medsage_redis_url" in files),
        "other addresses inside": (any(reaches(inside, port) for port in (22, 80, 5000)), False),
        "names": (reaches(RESOLVER, 53, "UDP") and reaches(RESOLVER, 53), True),
        "the machine's metadata": (
            any(reaches(End(address=each), port) for each in METADATA for port in (80, 443)),
            False,
        ),
    }
    for what, (is_open, may) in expected.items():
        if is_open != may:
            yield f"{component} {'can' if is_open else 'can not'} reach {what}"


def _listening(rendering: Rendering) -> list[tuple[str, int]]:
    return [
        (each.component, port["containerPort"])
        for each in rendering.workloads()
        for port in each.container.get("ports", ())
    ]


def _named_ways(rendering: Rendering) -> Iterator[Way]:
    """Who speaks to which pods: by addresses in variables, in secret files, and nginx's own."""
    services = {each["metadata"]["name"]: each for each in rendering.of("Service")}
    for each in rendering.workloads():
        for name, port in _addresses(rendering, each):
            if name in services:
                yield each.component, *_behind(rendering, services[name], port)


def _behind(rendering: Rendering, service: Mapping[str, object], port: int) -> tuple[str, int]:
    spec = service["spec"]
    assert isinstance(spec, dict)
    (named,) = [each for each in spec["ports"] if each["port"] == port]
    (target,) = [
        each for each in rendering.workloads() if spec["selector"].items() <= each.labels.items()
    ]
    (found,) = [
        each["containerPort"]
        for each in target.container["ports"]
        if each["name"] == named["targetPort"]
    ]
    return target.component, found


def _addresses(rendering: Rendering, workload: Workload) -> Iterable[tuple[str, int]]:
    for value in rendering.environment(workload).values():
        if value.startswith("http://"):
            url = urlsplit(value)
            yield url.hostname or "", url.port or 80
        yield from _members(value)
    files = workload.secret_files()
    if "medsage_mongodb_uri" in files:
        yield from _members(MEMBERS)
    if "medsage_redis_url" in files:
        yield "redis", 6379
    if workload.component == "mongodb":
        yield "mongo-1", 27017
    if workload.component == "nginx":
        texts = [text for each in rendering.of("ConfigMap") for text in each["data"].values()]
        for name, port in re.findall(r"\b(server|app):(\d+)", "\n".join(texts)):
            yield name, int(port)


def _members(text: str) -> Iterator[tuple[str, int]]:
    for name, port in re.findall(r"\b(mongo-\d):(\d+)", text):
        yield name, int(port)


CHECKS: Mapping[str, Callable[[Rendering], Iterator[str]]] = {
    check.__name__: check for check in (commands, settings, probes, way_down, network)
}
