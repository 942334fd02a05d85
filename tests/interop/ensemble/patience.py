"""How long is waited for anything, on a machine that is busy with other things, too."""

import os
import time

# Times the usual; `scripts/interop-matrix --patience` sets it.
FACTOR = float(os.environ.get("INTEROP_PATIENCE") or 1)


def seconds(usual):
    return usual * FACTOR


class Deadline:
    """A point in time that passes."""

    def __init__(self, usual):
        self.seconds = seconds(usual)
        self.at = time.monotonic() + self.seconds

    def is_over(self):
        return time.monotonic() > self.at
