"""What NetworkPolicies let through, as the API of Kubernetes says (networking/v1): whoever is
selected by a policy of a direction may do in it only what some rule of such policies allows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Policy = dict[str, Any]
NAME_OF_NAMESPACE = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod with its labels and namespace, or an address elsewhere."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes these labels; an empty one takes all. ValueError for an
    operator that nothing here uses."""
    if any(labels.get(name) != value for name, value in selector.get("matchLabels", {}).items()):
        return False
    for each in selector.get("matchExpressions", ()):
        if each["operator"] != "In":
            raise ValueError(each["operator"])
        if labels.get(each["key"]) not in each["values"]:
            return False
    return True


def allows(
    policies: Iterable[Policy], source: End, target: End, port: int, protocol: str = "TCP"
) -> bool:
    """Whether a connection gets through in both directions that are asked: out and in."""
    known = list(policies)
    ways = (
        ("Egress", "egress", "to", source, target),
        ("Ingress", "ingress", "from", target, source),
    )
    return all(
        _lets(known, (direction, rules, peers), own, other, (protocol, port))
        for direction, rules, peers, own, other in ways
    )


def _lets(
    policies: list[Policy],
    words: tuple[str, str, str],
    own: End,
    other: End,
    port: tuple[str, int],
) -> bool:
    direction, rules, peers = words
    if own.address:
        return True
    selecting = [
        each
        for each in policies
        if each["metadata"]["namespace"] == own.namespace
        and direction in each["spec"]["policyTypes"]
        and selects(each["spec"]["podSelector"], own.labels)
    ]
    return not selecting or any(
        _has_port(rule, port) and _has_peer(rule.get(peers), other, own.namespace)
        for each in selecting
        for rule in each["spec"].get(rules, ())
    )


def _has_port(rule: Mapping[str, Any], port: tuple[str, int]) -> bool:
    ports = rule.get("ports")
    return not ports or any((each["protocol"], each["port"]) == port for each in ports)


def _has_peer(peers: list[Any] | None, other: End, namespace: str) -> bool:
    return not peers or any(_is_peer(each, other, namespace) for each in peers)


def _is_peer(peer: Mapping[str, Any], other: End, namespace: str) -> bool:
    """An ipBlock is not taken to mean pods: whether it does is left to the network plugin."""
    if "ipBlock" in peer:
        return bool(other.address) and _is_within(peer["ipBlock"], other.address)
    if other.address:
        return False
    if "namespaceSelector" in peer:
        is_there = selects(peer["namespaceSelector"], {NAME_OF_NAMESPACE: other.namespace})
    else:
        is_there = other.namespace == namespace
    return is_there and selects(peer.get("podSelector", {}), other.labels)


def _is_within(block: Mapping[str, Any], address: str) -> bool:
    where = ip_address(address)
    return where in ip_network(block["cidr"]) and not any(
        where in ip_network(each) for each in block.get("except", ())
    )
