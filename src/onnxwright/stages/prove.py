"""The verb `prove`: a package from what it carries, or a candidate against the model that it is said to be."""

from __future__ import annotations

from onnxwright.artifact import Package
from onnxwright.progress import Progress, Silence
from onnxwright.stages.prove_package import prove_package
from onnxwright.stages.question import Question
from onnxwright.stages.verdicts import Verdicts


def prove(question: Question, progress: Progress | None = None) -> Verdicts:
    """Answers a question with a proof for each engine.

    Raises:
        UsageError: when the source, the candidate, an option or an engine is at fault.
        ModelError: when the source can't be run, or is no function of its inputs.
    """
    question.check()
    if question.candidate is not None:
        from onnxwright.stages.prove_candidate import prove_candidate

        return prove_candidate(question, progress or Silence())
    assert question.package is not None, "checked above"
    return prove_package(Package.open(question.package), question.engines, allow_fallback=question.allows_fallback)
