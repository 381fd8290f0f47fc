"""What it takes to import onnxwright and to ask it for help: claimed to be under half a second.

Each round runs every command once, in a random order, beside a Python that does nothing.
"""

from __future__ import annotations

import random
import subprocess
import sys
from functools import partial

from record import ONNXWRIGHT, in_rounds, keep, ratios, seconds, spread

LIMIT_SECONDS = 0.5
WARM_UP, ROUNDS = 2, 21
BASELINE = "python -c pass"
COMMANDS = {
    BASELINE: [sys.executable, "-c", "pass"],
    "import onnxwright": [sys.executable, "-c", "import onnxwright"],
    "onnxwright --help": [ONNXWRIGHT, "--help"],
}


def main() -> None:
    """Times the commands against each other."""
    draw = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    run = {
        name: partial(subprocess.run, command, check=True, capture_output=True) for name, command in COMMANDS.items()
    }
    for name in in_rounds(COMMANDS, WARM_UP, draw):
        run[name]()
    for name in in_rounds(COMMANDS, ROUNDS, draw):
        times[name].append(seconds(run[name]))
    rows = []
    for name, series in times.items():
        own, ratio = spread(series), ratios(series, times[BASELINE])
        verdict = "under" if own.high < LIMIT_SECONDS else "NOT under"
        print(f"{name}: {own} s, {ratio}× a bare Python: {verdict} {LIMIT_SECONDS} s")
        rows.append({"command": name, "seconds": own._asdict(), "ratio": ratio._asdict()})
    keep("startup", {"rounds": ROUNDS, "limit_seconds": LIMIT_SECONDS, "rows": rows})


if __name__ == "__main__":
    main()
