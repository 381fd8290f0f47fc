"""Control flow as operators: what Python decides by a size or a value becomes `torch.cond`, `while_loop` or `scan`.

The functions that findings point at are rewritten by their syntax, for the time of an export by `torch.export`: each
`if`, `while`, `for`, early exit and comprehension that depends on an input is one operator. What Python itself knows
(a setting, whether an argument is given) runs as before, and what it computes of one size by functions that have no
operator (`math.log2`, numpy's) is looked up in a table over the profile. A side that gives None where the other gives a
tensor is left out, which the proof has to justify: the samples must take it, and agree.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Final

from onnxwright.errors import RepairError
from onnxwright.pytorch.functions import functions_at
from onnxwright.pytorch.lines import Line
from onnxwright.repairs import DECIDED, SEPARATOR, Exporter, Repair, Seen
from onnxwright.repairs.control_flow.leaving_out import noting_sides, watch
from onnxwright.repairs.control_flow.recompiling import exchanged, recompiled
from onnxwright.repairs.control_flow.settled import over_profile
from onnxwright.repairs.control_flow.syntax.unsupported import UnsupportedError
from onnxwright.routes import Exported, noting
from onnxwright.source import Source

_MOST_PLACES: Final = 40
_FRAME: Final = re.compile(r'File "([^"]+)", line (\d+)')
_CAUSE: Final = re.compile(r"Caused by: \((\S+\.py:\d+) in ")


class ControlFlow(Repair):
    """Rewrites what decides in functions into operators."""

    name = "control-flow"
    summary = "rewrites branches and loops that findings point at into `torch.cond`, `while_loop` and `scan`"
    rank = 6.0
    depth = 1
    route = "dynamo"
    decides = True

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Yields the places at which Python decides, all at once."""
        has_decided = any(finding.code in DECIDED for finding in seen.findings)
        if seen.source.module is None or not (has_decided or seen.approach.route == self.route):
            return
        rewritten = seen.applied(self.name)
        places = _pointed_at(seen)
        functions = functions_at([*places, *rewritten])
        first = {id(function): place for place in reversed(places) for function in functions.get(place, ())}
        done = {id(function) for place in rewritten for function in functions.get(place, ())}
        left = {place for function, place in first.items() if function not in done}
        if left and len(rewritten) < _MOST_PLACES:
            yield SEPARATOR.join(sorted(left))

    def around(self, export: Exporter, argument: str) -> Exporter:
        """Returns an export with the functions rewritten that stand at these places."""
        # Found here, once: not in each process that makes an attempt.
        functions = {id(one): one for several in functions_at(argument.split(SEPARATOR)).values() for one in several}

        def with_operators(source: Source) -> Exported:
            with contextlib.ExitStack() as replaced:
                reasons = []
                for function in functions.values():
                    try:
                        replaced.enter_context(exchanged(function, recompiled(function)))
                    except UnsupportedError as reason:
                        reasons.append(f"{function.__qualname__}: {reason}")
                if len(reasons) == len(functions):
                    raise RepairError(f"nothing can be rewritten ({'; '.join(reasons) or 'no source'})")
                sides = replaced.enter_context(noting_sides())
                replaced.enter_context(over_profile(source))
                exported = export(source)
                if sides.left_out:
                    watch(sides, source)
                return noting(exported, findings=(*exported.noted.findings, *sides.findings()))

        return with_operators


def _pointed_at(seen: Seen) -> list[str]:
    """The places at which Python decides, by what was found, asked of symbolic sizes, and told by the exporter."""
    found = [finding.where for finding in (*seen.earlier, *seen.findings) if finding.where]
    conditions = seen.asked.conditions if seen.asked else ()
    asked = [str(one.place.line) for one in conditions if one.place.line.is_users]
    told = [str(Line(file, int(number))) for file, number in _FRAME.findall(seen.message)]
    return list(dict.fromkeys([*found, *asked, *told, *_CAUSE.findall(seen.message)]))


REPAIR = ControlFlow()
