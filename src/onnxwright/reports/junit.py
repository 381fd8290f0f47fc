"""Writes proofs as JUnit XML, which continuous integration reads: a suite for each engine, a case for each size.

Beside the sizes each suite has one case, `range`, for the verdict: it fails when the proof does, or when it shows less
than was demanded. Sizes that the reference refuses or that time did not allow are skipped cases. Sizes are not timed
one by one: a case's time is its part of the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

from onnxwright.errors import ModelError, OutputError
from onnxwright.manifest import Proof
from onnxwright.stages.verdicts import Verdicts, in_percent
from onnxwright.staging import staged_file
from onnxwright.words import in_sizes

# What XML 1.0 has no way to write, escaped or not.
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Outcome = Literal["passed", "failure", "skipped"]


@dataclass(frozen=True)
class _Case:
    """One line of a report: what was tried, and what came of it."""

    name: str
    outcome: Outcome = "passed"
    message: str = ""


@dataclass(frozen=True)
class _Suite:
    """All cases of one engine, with what is told beside them."""

    name: str
    cases: tuple[_Case, ...]
    properties: dict[str, str]
    told: tuple[str, ...] = ()


def check_place(file: Path) -> None:
    """Refuses a place where no file can be written.

    Raises:
        OutputError: naming it.
    """
    if not file.parent.is_dir():
        raise OutputError(f"junit '{file}': its folder doesn't exist. Make '{file.parent}' first.")
    if file.is_dir():
        raise OutputError(f"junit '{file}': is a folder; expected the name of a file to write.")


def write_verdicts(file: Path, verdicts: Verdicts, *, least_percent: float, seconds: float) -> None:
    """Writes a report of all proofs, whole or not at all."""
    suites = [_suite(verdicts, name, least_percent) for name in verdicts.proofs]
    _write(file, suites, verdicts.subject, seconds)


def write_refusal(file: Path, subject: str, problem: ModelError, *, seconds: float) -> None:
    """Writes a report of a model of which nothing could be shown at all."""
    _write(file, [_Suite("prove", (_Case("range", "failure", str(problem)),), {})], subject, seconds)


def _suite(verdicts: Verdicts, engine: str, least_percent: float) -> _Suite:
    proof = verdicts.proofs[engine]
    return _Suite(
        engine,
        (*_sizes(proof), _range(verdicts, engine, least_percent)),
        dict(_properties(proof)),
        tuple(f"{found.code}: {found.message}" for found in proof.findings),
    )


def _sizes(proof: Proof) -> Iterator[_Case]:
    yield from (_Case(in_sizes(sizes)) for sizes in proof.sizes)
    wrong: dict[str, list[str]] = {}
    for failure in proof.failures:
        wrong.setdefault(in_sizes(failure.sizes), []).append(failure.message)
    yield from (_Case(sizes, "failure", "\n".join(messages)) for sizes, messages in wrong.items())
    yield from (_Case(in_sizes(sizes), "skipped", "the reference refuses this size") for sizes in proof.refused)
    yield from (_Case(in_sizes(sizes), "skipped", "not tried, for lack of time") for sizes in proof.untried)


def _range(verdicts: Verdicts, engine: str, least_percent: float) -> _Case:
    proof, share = verdicts.proofs[engine], in_percent(verdicts.share(engine))
    if proof.verdict == "failed":
        told = [found.message for found in proof.findings if found.blocks_proof] or [
            found.message for found in proof.findings
        ]
        return _Case("range", "failure", " ".join(["failed.", *told]))
    if engine in verdicts.under(least_percent):
        told_range = f"shown for {in_sizes(proof.range)}, {share} of the sizes asked for; expected {least_percent:g} %"
        return _Case("range", "failure", told_range)
    return _Case("range")


def _properties(proof: Proof) -> Iterator[tuple[str, str]]:
    yield "verdict", proof.verdict
    yield "range", in_sizes(proof.range) if proof.range else ""
    yield "points", str(proof.points)
    yield "reference", proof.reference
    yield "candidate", proof.candidate
    yield "tolerance", proof.tolerance.name
    yield "tolerance.origin", proof.tolerance.origin
    yield from ((f"tolerance.limit.{name}", f"{limit:.3e}") for name, limit in proof.tolerance.limits.items())
    if proof.worst is not None:
        worst = proof.worst
        yield "worst", f"{worst.error:.3e} of {worst.limit:.3e} in {worst.output} at {in_sizes(worst.sizes)}"


def _write(file: Path, suites: list[_Suite], subject: str, seconds: float) -> None:
    root = ET.Element("testsuites", {"name": "onnxwright prove", "time": f"{seconds:.3f}"})
    _count(root, [case for suite in suites for case in suite.cases])
    for suite in suites:
        root.append(_element(suite, subject, seconds / len(suites)))
    ET.indent(root)
    content = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    with staged_file(file, is_forced=True) as draft:
        draft.write_bytes(content)


def _element(suite: _Suite, subject: str, seconds: float) -> ET.Element:
    element = ET.Element("testsuite", {"name": _writable(suite.name), "time": f"{seconds:.3f}"})
    _count(element, list(suite.cases))
    properties = ET.SubElement(element, "properties")
    for name, value in suite.properties.items():
        ET.SubElement(properties, "property", {"name": _writable(name), "value": _writable(value)})
    # Readers take what stands before the last dot for a package.
    place = f"onnxwright.{subject.replace('.', '_')}.{suite.name}"
    for case in suite.cases:
        attributes = {"name": case.name, "classname": place, "time": f"{seconds / len(suite.cases):.3f}"}
        found = ET.SubElement(element, "testcase", {key: _writable(one) for key, one in attributes.items()})
        if case.outcome == "failure":
            failure = ET.SubElement(found, "failure", {"message": _writable(case.message), "type": "proof"})
            failure.text = _writable(case.message)
        elif case.outcome == "skipped":
            ET.SubElement(found, "skipped", {"message": _writable(case.message)})
    ET.SubElement(element, "system-out").text = _writable("\n".join(suite.told))
    return element


def _count(element: ET.Element, cases: list[_Case]) -> None:
    outcomes = [case.outcome for case in cases]
    element.set("tests", str(len(outcomes)))
    element.set("failures", str(outcomes.count("failure")))
    element.set("errors", "0")
    element.set("skipped", str(outcomes.count("skipped")))


def _writable(text: str) -> str:
    return _UNWRITABLE.sub("�", text)
