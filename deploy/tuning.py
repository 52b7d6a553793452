"""How the interpreter is set for a process that serves."""

import gc
import sys

SWITCH_SECONDS = 0.001
YOUNG, MIDDLE, OLD = 50_000, 20, 100


def for_serving() -> None:
    """To be called when everything is imported and composed.

    What exists by now stays: the collector need not look at it again, and what requests make
    is mostly freed by its counts. The store's thread hands the interpreter over at each
    statement; with the default interval a busy thread keeps it for 5 ms each time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
    sys.setswitchinterval(SWITCH_SECONDS)
