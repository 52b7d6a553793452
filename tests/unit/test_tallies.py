"""Our counters and histograms say what those of prometheus_client would."""

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from fhir_server.tallies import Tally, Times

BUCKETS = (0.001, 0.5, 1, 2.5)
SEEN = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from([*BUCKETS, 0.0, 0.0011, 2.4999, 3.0, 1e9])),
    max_size=30,
)


def lines(registry: CollectorRegistry) -> set[str]:
    """Without the moments at which series began, which ours do not tell."""
    text = generate_latest(registry).decode()
    return {line for line in text.splitlines() if "_created" not in line}


@settings(max_examples=60, deadline=None)
@given(SEEN)
def test_the_same_is_exposed(seen: list[tuple[str, float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = Tally("things", "Things", ("kind",), ours)
    times = Times(("seconds", "Time"), ("kind",), BUCKETS, ours)
    counter = Counter("things", "Things", ("kind",), registry=theirs)
    histogram = Histogram("seconds", "Time", ("kind",), buckets=BUCKETS, registry=theirs)
    for kind, seconds in seen:
        tally.add((kind,))
        times.observe((kind,), seconds)
        counter.labels(kind).inc()
        histogram.labels(kind).observe(seconds)
    assert lines(ours) == lines(theirs)


def test_a_series_can_begin_at_zero() -> None:
    registry = CollectorRegistry()
    Tally("things", "Things", ("kind",), registry).add(("a",), 0)
    assert registry.get_sample_value("things_total", {"kind": "a"}) == 0
