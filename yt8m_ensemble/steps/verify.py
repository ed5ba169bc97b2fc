"""`verify`: prove that the official readers load an archive, and that its scores are right."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.constants import (
    FLAGS_FILE,
    INFERENCE_MODEL,
    TOP_K,
)
from yt8m_ensemble.data import read_batches
from yt8m_ensemble.errors import BundleError, ModelError
from yt8m_ensemble.graphs import read_meta_graph
from yt8m_ensemble.options import VerifyOptions, command
from yt8m_ensemble.packaging import (
    RUN_CHECKS,
    Comparer,
    Comparison,
    FreshReader,
    LoadedModel,
    check_archive,
    check_model,
    check_operations,
    extract_bundle,
    fresh_reader,
    member_of,
    read_mixture,
    stored_scores,
)
from yt8m_ensemble.values import (
    Bundle,
    Check,
    FeatureSpec,
    MixtureWeights,
    Progress,
    TensorSpec,
    parse_feature_spec,
    parse_flags,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TOLERANCES: Final = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 5e-3, "uint8": 0.1}
"""Largest difference of a score that storing weights in a dtype explains.

On the originals' fixtures float16 moves a score by 7e-5 at most, uint8 codes by 0.003 (per channel)
to 0.015 (quantile codebook), 4-bit codes by 0.055; float32 only by the order of sums and the six
digits of a submission.
"""

_ROUNDING: Final = 1e-6


@dataclass(frozen=True)
class Run:
    """An archive as one interpreter loaded and ran it.

    Args:
        model: The model as it loaded there.
        comparison: How its scores compare; `None` without records.
    """

    model: LoadedModel
    comparison: Comparison | None


@dataclass(frozen=True)
class Verification:
    """Result of `verify_bundle`: the proof of an archive.

    Args:
        path: The archive.
        bundle: What it holds.
        checks: Every named check, all passed.
        runs: One a interpreter: today's TensorFlow, and that of `tf1` if it was given.
        tolerance: The difference of a score that was allowed.
    """

    path: str
    bundle: Bundle
    checks: tuple[Check, ...]
    runs: tuple[Run, ...]
    tolerance: float


@command(VerifyOptions)
def verify_bundle(options: VerifyOptions) -> Verification:
    """Check an archive's structure, load it in a fresh process, and compare its scores.

    Of a cache of the members' predictions, the mixture is taken with the archive's own weights. The
    tolerance is by default that of `TOLERANCES` for the narrowest weights in the archive.

    Returns:
        The proof.

    Raises:
        BundleError: If the archive is refused, or a check fails; carries all checks.
    """
    path, tolerance = options.path, options.tolerance
    records = files.expand_globs(options.data, option="--data") if options.data else []
    with _open_archive(path) as opened:
        checks = _check_structure(opened, max_size=options.max_size)
        if tolerance is None:
            dtypes = {"float32", *(spec.dtype for spec in opened.specs.values())}
            tolerance = max(TOLERANCES.get(dtype, 0.0) for dtype in dtypes)
        can_run = all(check.is_ok for check in checks if check.name in RUN_CHECKS)
        runs = []
        interpreters = (sys.executable, *([options.tf1] if options.tf1 else []))
        for python in interpreters if can_run else ():
            trial = _Trial(opened, python, records, options.batch_size, options.progress)
            run, found = _run(trial, against=options.against, tolerance=tolerance)
            runs += [run] if run else []
            checks += found
    failed = [check for check in checks if not check.is_ok]
    if failed:
        listed = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        msg = f"'{path}' fails {len(failed)} of {len(checks)} checks. {listed}"
        raise BundleError(msg, path=path, checks=checks, failed=[check.name for check in failed])
    return Verification(path, opened.bundle, tuple(checks), tuple(runs), tolerance)


@dataclass(frozen=True)
class _Archive:
    """An unpacked archive: local copy, contents, graph, flags, tensors, mixture."""

    path: str
    bundle: Bundle
    meta: Any
    flags: Mapping[str, Any]
    specs: Mapping[str, TensorSpec]
    mixture: MixtureWeights | None

    @property
    def features(self) -> FeatureSpec:
        return parse_feature_spec(self.flags)


@contextmanager
def _open_archive(path: str) -> Iterator[_Archive]:
    """Yield the parts of an archive; a remote one is copied, for another process reads it."""
    with tempfile.TemporaryDirectory(prefix="yt8m-ens-") as directory:
        local = path
        if files.is_remote(path):
            local = f"{directory}/{Path(path).name}"
            with files.open_binary(path) as source, Path(local).open("wb") as target:
                shutil.copyfileobj(source, target)
        model = f"{directory}/model"
        bundle = replace(extract_bundle(local, model), path=path)
        flags = parse_flags(files.read_bytes(f"{model}/{FLAGS_FILE}"), path=FLAGS_FILE)
        meta = read_meta_graph(f"{model}/{INFERENCE_MODEL}.meta")
        with open_checkpoint(f"{model}/{INFERENCE_MODEL}") as source:
            mixture = read_mixture(flags, meta.graph_def, source)
            yield _Archive(local, bundle, meta, flags, source.specs(), mixture)


def _check_structure(archive: _Archive, *, max_size: int) -> list[Check]:
    flags = archive.flags
    names, naming = tuple(flags.get("members", ())), flags.get("naming")
    return [
        *check_archive(archive.bundle, max_size=max_size),
        *check_model(archive.meta, flags=flags, specs=archive.specs),
        *check_operations(
            archive.meta,
            member_of=lambda node: member_of(node, names, naming=naming) if names else None,
        ),
    ]


@dataclass(frozen=True)
class _Trial:
    """Work of one interpreter."""

    archive: _Archive
    python: str
    records: list[str]
    batch_size: int
    progress: Progress


def _run(trial: _Trial, *, against: str | None, tolerance: float) -> tuple[Run | None, list[Check]]:
    """Return what the interpreter made of the archive, and the checks that follow from it."""
    try:
        with fresh_reader(trial.archive.path, python=trial.python) as reader:
            model = reader.model
            where = f"TensorFlow {model.tensorflow}"
            checks = [
                Check(f"loads in {where}", is_ok=True, detail=f"{model.operations} operations"),
                *_probe(reader, trial.archive.features, where=where),
            ]
            if not trial.records or not all(check.is_ok for check in checks):
                return Run(model, None), checks
            comparison = _compare(reader, trial, against=against)
    except BundleError as error:
        return None, [Check(f"runs in {trial.python}", is_ok=False, detail=str(error))]
    if against:
        detail = (
            f"{comparison.max_difference:.3g} of {tolerance:g} allowed, in class "
            f"{comparison.class_id} of video {comparison.video_id}"
        )
        agrees = comparison.max_difference <= tolerance
        checks.append(Check(f"agrees with {against} in {where}", agrees, detail))
    return Run(model, comparison), checks


def _probe(reader: FreshReader, features: FeatureSpec, *, where: str) -> list[Check]:
    """Return whether made-up batches, of one video and of three, get scores."""
    rng = np.random.default_rng(0)
    checks, classes = [], 0
    for size in (1, 3):
        num_frames = rng.integers(1, features.max_frames, size, np.int32, endpoint=True)
        if features.frame_level:
            shape = (size, features.max_frames, features.total_size)
            batch = rng.standard_normal(shape, np.float32)
            batch[np.arange(features.max_frames) >= num_frames[:, None]] = 0
        else:
            # The official reader feeds ones where there are no frames.
            batch = rng.standard_normal((size, features.total_size), np.float32)
            num_frames = np.ones_like(num_frames)
        scores = reader.predict(batch, num_frames)
        classes = scores.shape[-1]
        fits = scores.shape == (size, classes) and bool(
            np.all((scores >= 0) & (scores <= 1 + _ROUNDING))
        )
        detail = f"{scores.dtype} {scores.shape}, {scores.min():.3g} to {scores.max():.3g}"
        checks.append(Check(f"scores a batch of {size} in {where}", fits, detail))
    enough = Check(f"{TOP_K} classes or more in {where}", classes >= TOP_K, f"{classes}")
    return [*checks, enough]


def _compare(reader: FreshReader, trial: _Trial, *, against: str | None) -> Comparison:
    """Return how the scores of the records compare with stored ones.

    Raises:
        ModelError: If the graph does not tell how many classes it predicts.
    """
    num_classes = (reader.model.predictions["shape"] or [None])[-1]
    if num_classes is None:
        path = trial.archive.bundle.path
        msg = f"The graph in '{path}' does not tell how many classes it predicts."
        raise ModelError(msg, path=path)
    with ExitStack() as stack:
        expected = None
        if against:
            expected = stack.enter_context(
                stored_scores(against, num_classes=num_classes, mixture=trial.archive.mixture)
            )
        comparer = Comparer(expected, num_classes=num_classes)
        done = 0
        for batch in read_batches(
            trial.records,
            features=trial.archive.features,
            num_classes=num_classes,
            batch_size=trial.batch_size,
        ):
            scores = reader.predict(batch.features, batch.num_frames)
            comparer.update(batch.video_ids, scores, batch.labels)
            done += len(scores)
            trial.progress(f"verify in {trial.python}", done, None, unit="videos")
        return comparer.result()
