"""A package's built engine: opened for a proof, and said to have been executed only by one that holds."""

from __future__ import annotations

import msgspec

from onnxwright import backends, environment
from onnxwright.artifact import Package, PackageSession
from onnxwright.backends import Session
from onnxwright.casting import fitted
from onnxwright.engine import Engine, write_engine_manifest
from onnxwright.errors import EngineError, SourceError
from onnxwright.manifest import Proof
from onnxwright.stages.build import ENGINES


def built_engine(package: Package, name: str) -> Engine | None:
    """Returns the engine that a package has under this name, if it has one, and it is of the package's graph.

    Raises:
        SourceError: when it was altered, or is of another graph.
        EngineError: when the package has none, and was not converted with it.
    """
    folder = package.folder / ENGINES / name
    if name not in backends.builders():
        return None
    if not folder.is_dir():
        if any(name in one.engines and one.engines[name].executed for one in package.manifest.variants.values()):
            return None
        command = f"onnxwright build {package.folder} --engine {name}"
        raise EngineError(f"engine '{name}': '{package.folder}' has none. Build it: `{command}`.")
    engine = Engine.open(folder)
    if engine.manifest.onnx_sha256 not in {one.sha256 for one in package.manifest.variants.values()}:
        raise SourceError(
            f"engine '{name}' of '{package.folder}' is of another graph than the package holds. "
            f"Build it again: `onnxwright build {package.folder} --engine {name} --force`."
        )
    return engine


def engine_session(package: Package, engine: Engine, session: Session | None = None) -> PackageSession:
    """Loads an engine on the GPU, held to the range that was proven of its graph and that it was built for.

    Raises:
        EngineError: when it can't be run here.
    """
    if session is None:
        reason = backends.engines()[engine.manifest.engine].available()
        if reason is not None:
            raise EngineError(f"engine '{engine.manifest.engine}' is not available: {reason}")
        session = engine.session()
    variant = next(one for one in package.manifest.variants.values() if one.sha256 == engine.manifest.onnx_sha256)
    built = engine.manifest.profile
    spans = {dim: (min(one[dim][0] for one in built), max(one[dim][2] for one in built)) for dim in built[0]}
    shown = {
        dim: (max(low, spans.get(dim, (low, high))[0]), min(high, spans.get(dim, (low, high))[1]))
        for dim, (low, high) in variant.proof.range.items()
    }
    session = fitted(session, package.signature, variant.io)
    return PackageSession(session, package.signature, msgspec.structs.replace(variant.proof, range=shown))


def keep_proof(engine: Engine, proof: Proof) -> Engine:
    """Writes into an engine's manifest that it was executed, if what it answered was shown right."""
    if proof.verdict == "failed":
        return engine
    shown = msgspec.structs.replace(
        engine.manifest, executed=True, not_executed="", proof=proof, environment=environment.describe()
    )
    write_engine_manifest(engine.folder, shown)
    return Engine(engine.folder, shown)
