"""`verify`: prove that the official readers load an archive, and that its scores are right."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.checkpoints import open_checkpoint
from yt8m_ensemble.constants import FLAGS_FILE, INFERENCE_MODEL, SAVED_MODEL_FILE
from yt8m_ensemble.data import estimate_num_records, read_batches, read_serialized
from yt8m_ensemble.errors import BundleError, GraphError, ModelError
from yt8m_ensemble.graphs import (
    GraphReport,
    check_exported_graph,
    frame_draws,
    node_name,
    read_meta_graph,
    read_serving_graph,
)
from yt8m_ensemble.options import VerifyOptions, command
from yt8m_ensemble.packaging import (
    POLICY_CHECK,
    RUN_CHECKS,
    Chance,
    Comparer,
    Comparison,
    FreshReader,
    LoadedModel,
    check_archive,
    check_model,
    check_operations,
    check_signatures,
    describe_saved_model,
    extract_bundle,
    fresh_reader,
    made_up_videos,
    member_of,
    probe,
    read_mixture,
    stored_scores,
)
from yt8m_ensemble.scratch import scratch_directory
from yt8m_ensemble.storage.vocabulary import describe_class, read_vocabulary
from yt8m_ensemble.values import (
    READERS,
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
    from collections.abc import Iterator, Mapping, Sequence

    from yt8m_ensemble.options.choices import Reader

TOLERANCES: Final = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 5e-3, "uint8": 0.1}
"""Largest difference of a score that storing weights in a dtype explains.

On the originals' fixtures float16 moves a score by 7e-5 at most, uint8 codes by 0.003 (per channel)
to 0.015 (quantile codebook), 4-bit codes by 0.055; float32 only by the order of sums and the six
digits of a submission.
"""

_SHOWN: Final = 3


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
        checks: Every named check; all that matter to the reader passed.
        runs: One a interpreter: today's TensorFlow, and that of `tf1` if it was given.
        tolerance: The difference of a score that was allowed.
        reader: Whom it was judged for.
        depends_on_chance: Whether the scores vary from run to run.
        unreached: Operations that may not run and that nothing reaches, as `Operation 'node'`.
    """

    path: str
    bundle: Bundle
    checks: tuple[Check, ...]
    runs: tuple[Run, ...]
    tolerance: float
    reader: Reader
    depends_on_chance: bool
    unreached: tuple[str, ...]

    @property
    def untidy(self) -> tuple[Check, ...]:
        """The checks that failed, though none that matters to the reader."""
        return tuple(check for check in self.checks if not check.is_ok)


@command(VerifyOptions)
def verify_bundle(options: VerifyOptions) -> Verification:
    """Check an archive's or SavedModel's structure, load it in a fresh process, compare its scores.

    Of a cache of the members' predictions, the mixture is taken with the archive's own weights. The
    tolerance is by default that of `TOLERANCES` for the narrowest weights in the archive.

    Returns:
        The proof.

    Raises:
        BundleError: If the archive is refused, or a check fails; carries all checks.
    """
    path, tolerance = options.path, options.tolerance
    records = files.expand_globs(options.data, option="--data") if options.data else []
    class_names = read_vocabulary(options.vocabulary)
    with _open_archive(path) as opened:
        report, policy = _check_policy(opened, options.allow_operations)
        checks = [*_check_structure(opened, max_size=options.max_size), policy]
        if tolerance is None:
            dtypes = {"float32", *(spec.dtype for spec in opened.specs.values())}
            tolerance = max(TOLERANCES.get(dtype, 0.0) for dtype in dtypes)
        can_run = all(check.is_ok for check in checks if check.name in RUN_CHECKS)
        runs = []
        interpreters = (sys.executable, *([options.tf1] if options.tf1 else []))
        for python in interpreters if can_run else ():
            trial = _Trial(
                opened,
                python,
                records,
                options.batch_size,
                options.timeout,
                _chance(opened, report),
                options.margin,
                class_names,
                options.progress,
            )
            run, found = _run(trial, against=options.against, tolerance=tolerance)
            runs += [run] if run else []
            checks += found
    reader = options.reader
    failed = [check for check in checks if not check.is_ok and reader in check.readers]
    if failed:
        takes = [name for name in READERS if all(c.is_ok or name not in c.readers for c in checks)]
        msg = f"'{path}' {_fault(checks, failed, takes, runs)}"
        names = [check.name for check in failed]
        raise BundleError(
            msg, path=path, checks=checks, failed=names, reader=reader, taken_by=takes
        )
    return Verification(
        path,
        opened.bundle,
        tuple(checks),
        tuple(runs),
        tolerance,
        reader,
        bool(report and report.random),
        report.unreached if report else (),
    )


def _fault(checks: list[Check], failed: list[Check], takes: list[str], runs: list[Run]) -> str:
    """Return what fails, whether the archive runs, and who takes it."""
    listed = "; ".join(f"{check.name}: {check.detail}" for check in failed[:_SHOWN])
    more = f"; {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
    if not runs:
        outcome = "It was not run."
    elif takes:
        outcome = (
            f"It loads and scores, and the reader of {takes[0]} takes it: judge it for that reader "
            f"alone with `--reader {takes[0]}`."
        )
    else:
        outcome = f"It loads and scores in TensorFlow {runs[0].model.tensorflow}."
    return f"fails {len(failed)} of {len(checks)} checks. {listed}{more}. {outcome}"


@dataclass(frozen=True)
class _Archive:
    """An unpacked archive, or a SavedModel: local copy, files, graph, flags, tensors, mixture."""

    path: str
    bundle: Bundle
    meta: Any
    flags: Mapping[str, Any]
    specs: Mapping[str, TensorSpec]
    mixture: MixtureWeights | None
    is_saved_model: bool = False

    @property
    def features(self) -> FeatureSpec:
        return parse_feature_spec(self.flags)


@contextmanager
def _open_archive(path: str) -> Iterator[_Archive]:
    """Yield the parts of an archive or SavedModel.

    A remote archive is copied, for another process reads it.
    """
    if files.exists(f"{path}/{SAVED_MODEL_FILE}"):
        bundle, meta = describe_saved_model(path), read_serving_graph(path)
        flags = parse_flags(files.read_bytes(f"{path}/{FLAGS_FILE}"), path=f"{path}/{FLAGS_FILE}")
        with open_checkpoint(f"{path}/variables/variables") as source:
            mixture = read_mixture(flags, meta.graph_def, source)
            yield _Archive(path, bundle, meta, flags, source.specs(), mixture, is_saved_model=True)
        return
    with scratch_directory() as directory:
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
    model = check_model(archive.meta, flags=flags, specs=archive.specs)
    if archive.is_saved_model:  # of the challenge's readers none loads it
        return [*check_signatures(archive.meta), *model]
    names, naming = tuple(flags.get("members", ())), flags.get("naming")
    return [
        *check_archive(archive.bundle, max_size=max_size),
        *model,
        *check_operations(
            archive.meta,
            member_of=lambda node: member_of(node, names, naming=naming) if names else None,
        ),
    ]


def _check_policy(archive: _Archive, allow: Sequence[str]) -> tuple[GraphReport | None, Check]:
    """Return what the readers would run, and whether all of it may."""
    try:
        report = check_exported_graph(
            archive.meta, path=archive.bundle.path, allow_operations=allow
        )
    except GraphError as error:
        return None, Check(POLICY_CHECK, is_ok=False, detail=str(error))
    detail = f"{len(report.unreached)} others, which nothing reaches"
    return report, Check(POLICY_CHECK, is_ok=True, detail=detail)


def _chance(archive: _Archive, report: GraphReport | None) -> Chance:
    """Return what the predictions draw at random."""
    random = report.random if report else ()
    counts = archive.meta.collection_def["num_frames"].node_list.value
    draws = frame_draws(archive.meta.graph_def, node_name(counts[0])) if counts else set()
    is_ours = "naming" in archive.flags or files.exists(f"{archive.bundle.path}.provenance.json")
    return Chance(
        frames=tuple(name for name in random if name in draws),
        others=tuple(name for name in random if name not in draws),
        is_ours=is_ours,
    )


@dataclass(frozen=True)
class _Trial:
    """Work of one interpreter."""

    archive: _Archive
    python: str
    records: list[str]
    batch_size: int
    timeout: float
    chance: Chance
    margin: float
    class_names: Mapping[int, str]
    progress: Progress


def _run(trial: _Trial, *, against: str | None, tolerance: float) -> tuple[Run | None, list[Check]]:
    """Return what the interpreter made of the archive, and the checks that follow from it."""
    try:
        with fresh_reader(trial.archive.path, python=trial.python, timeout=trial.timeout) as reader:
            model = reader.model
            where = f"TensorFlow {model.tensorflow}"
            checks = [
                Check(f"loads in {where}", is_ok=True, detail=f"{model.operations} operations"),
                *probe(
                    reader,
                    made_up_videos(trial.archive.features),
                    where=where,
                    chance=trial.chance,
                ),
            ]
            if not trial.records or not all(check.is_ok for check in checks):
                return Run(model, None), checks
            comparison = _compare(reader, trial, against=against)
            if trial.archive.is_saved_model:
                checks.append(_check_records(reader, trial, where=where))
            name = trial.class_names.get(comparison.class_id, "")
            comparison = replace(comparison, name=name)
    except BundleError as error:
        return None, [Check(f"runs in {trial.python}", is_ok=False, detail=str(error))]
    if against:
        detail = (
            f"{comparison.max_difference:.3g} of {tolerance:g} allowed, in class "
            f"{describe_class(comparison.class_id, trial.class_names)} of video "
            f"{comparison.video_id}"
        )
        agrees = comparison.max_difference <= tolerance
        checks.append(Check(f"agrees with {against} in {where}", agrees, detail))
    return Run(model, comparison), checks


def _check_records(reader: FreshReader, trial: _Trial, *, where: str) -> Check:
    """Return how scores of serialized records compare with those of their features, in a batch."""
    batch = next(
        iter(
            read_batches(
                trial.records,
                features=trial.archive.features,
                num_classes=_num_classes(reader, trial),
                batch_size=trial.batch_size,
            )
        )
    )
    records = list(islice(read_serialized(trial.records), len(batch.video_ids)))
    scores = reader.predict(batch.features, batch.num_frames)
    classes, best = reader.predict_records(records)
    expected = -np.sort(-scores, axis=1)[:, : best.shape[1]]
    listed = np.take_along_axis(scores, classes, axis=1)
    difference = float(max(np.abs(best - expected).max(), np.abs(best - listed).max()))
    allowed = TOLERANCES["float32"]
    detail = f"{len(records)} videos, differ by {difference:.3g} of {allowed:g} allowed"
    return Check(f"records score as their features in {where}", difference <= allowed, detail)


def _num_classes(reader: FreshReader, trial: _Trial) -> int:
    """Return how many classes a loaded model predicts.

    Raises:
        ModelError: If the graph does not tell.
    """
    num_classes: int | None = (reader.model.predictions["shape"] or [None])[-1]
    if num_classes is None:
        path = trial.archive.bundle.path
        msg = f"The graph in '{path}' does not tell how many classes it predicts."
        raise ModelError(msg, path=path)
    return num_classes


def _compare(reader: FreshReader, trial: _Trial, *, against: str | None) -> Comparison:
    """Return how the scores of the records compare with stored ones."""
    num_classes = _num_classes(reader, trial)
    with ExitStack() as stack:
        expected = None
        if against:
            expected = stack.enter_context(
                stored_scores(against, num_classes=num_classes, mixture=trial.archive.mixture)
            )
        comparer = Comparer(expected, num_classes=num_classes, margin=trial.margin)
        done, total = 0, estimate_num_records(trial.records)
        for batch in read_batches(
            trial.records,
            features=trial.archive.features,
            num_classes=num_classes,
            batch_size=trial.batch_size,
        ):
            scores = reader.predict(batch.features, batch.num_frames)
            comparer.update(batch.video_ids, scores, batch.labels)
            done += len(scores)
            trial.progress(f"verify in {trial.python}", done, total, unit="videos")
        return comparer.result()
