"""A circuit breaker: a provider that fails again and again is left alone for a while."""

from collections.abc import Callable
from enum import StrEnum


class State(StrEnum):
    """Closed: everybody may call. Open: nobody. Half open: one call tries."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitBreaker:
    """Counts failures in a row. `most_failures` of them open the circuit for `rest_seconds`; then
    one call may try, whose success closes it and whose failure opens it again. `clock` gives
    seconds that never go back."""

    def __init__(
        self, clock: Callable[[], float], *, most_failures: int = 3, rest_seconds: float = 60.0
    ) -> None:
        self._clock = clock
        self._most_failures = most_failures
        self._rest_seconds = rest_seconds
        self._failures = 0
        self._opened: float | None = None
        self._is_trying = False

    @property
    def state(self) -> State:
        """As a call now would find it."""
        if self._opened is None:
            return State.CLOSED
        is_rested = self._clock() - self._opened >= self._rest_seconds
        return State.HALF_OPEN if is_rested else State.OPEN

    def admits(self) -> bool:
        """Whether a call may go out now. Who is admitted tells the end of the call by
        `succeeded`, `failed` or `gave_up`."""
        state = self.state
        if state is State.HALF_OPEN and not self._is_trying:
            self._is_trying = True
            return True
        return state is State.CLOSED

    def succeeded(self) -> None:
        """The provider answered."""
        self._failures, self._opened, self._is_trying = 0, None, False

    def failed(self, *, is_final: bool = False) -> None:
        """The provider did not; `is_final` opens at once (it asked to be left alone)."""
        was_trying, self._is_trying = self._is_trying, False
        self._failures += 1
        if is_final or was_trying or self._failures >= self._most_failures:
            self._opened = self._clock()

    def gave_up(self) -> None:
        """The caller was cancelled: nothing is known about the provider."""
        self._is_trying = False
