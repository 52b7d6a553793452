"""The fast road for times in resources gives what the general one gives."""

from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir.dates import time_range
from fhir_server.search import terms
from fhir_server.search.kinds.asked import Extraction
from fhir_server.search.kinds.date import moment

ZONES = st.sampled_from(("Z", "+00:00", "-05:00", "+14:00", "-12:30"))
TIMES = st.builds(
    lambda day, second, fraction, zone: (
        f"{day:%Y-%m-%d}T{second // 60:02}:{second % 60:02}:07"
        f"{'.' if fraction else ''}{fraction}{zone}"
    ),
    st.dates(),
    st.integers(0, 1439),
    st.text("0123456789", max_size=9),
    ZONES,
)


@given(TIMES)
def test_times_are_the_range_of_their_precision(text: str) -> None:
    year = text.partition("-")[0].zfill(4)  # strftime leaves the zeros of early years out
    whole = year + text[text.index("-") :]
    low, high = time_range(whole)
    expected = [("<", terms.instant(low)), (">", terms.instant(high))]
    assert moment(whole, Extraction({}, "")) == expected


def test_a_leap_second_is_the_first_of_the_next_minute() -> None:
    found = dict(moment("2016-12-31T23:59:60Z", Extraction({}, "")))
    assert found["<"] == terms.instant(time_range("2017-01-01T00:00:00Z").low)
