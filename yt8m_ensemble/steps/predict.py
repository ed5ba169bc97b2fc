"""`predict`: a Kaggle CSV and cached scores of every member, in one pass over the records."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yt8m_ensemble import files
from yt8m_ensemble.data import read_batches
from yt8m_ensemble.errors import ModelError, UsageError
from yt8m_ensemble.facts import TOP_K
from yt8m_ensemble.inference import SUBMISSION_HEADER, GraphRunner, format_submission
from yt8m_ensemble.steps.open_model import OpenModel, open_models
from yt8m_ensemble.storage import PredictionsWriter
from yt8m_ensemble.values import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.data import Batch


@dataclass(frozen=True)
class PredictResult:
    """Say what was scored and where it went.

    Args:
        members: Names of the members that were scored.
        num_videos: Videos scored.
        csv: The submission, if one was written.
        cache: The prediction file, if one was written.
    """

    members: tuple[str, ...]
    num_videos: int
    csv: str | None
    cache: str | None


def predict_scores(
    *,
    models: Sequence[str],
    data: str,
    csv: str | None = None,
    cache: str | None = None,
    top_k: int = TOP_K,
    batch_size: int = 1024,
    num_classes: int | None = None,
    architecture: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> PredictResult:
    """Score records with one or more models.

    Args:
        models: Paths to models (see `steps.open_model`); a merged one brings all its members.
        data: Globs of records, comma-separated.
        csv: Kaggle submission to write; needs exactly one model, whose mixed scores it holds.
        cache: Prediction file (`.h5`) to write: the scores of every member.
        top_k: Pairs a row of the submission.
        batch_size: Videos a batch.
        num_classes: Where a model's files do not tell.
        architecture: Overrides what the models' files say.
        force: Replace outputs that exist.
        dry_run: Check everything, score nothing.
        progress: Told the videos scored.

    Returns:
        What was written.

    Raises:
        UsageError: If neither output or a CSV of several models is asked for.
        ModelError: If the models differ in features or classes.
    """
    if not csv and not cache:
        msg = "Nothing to write. Pass `--csv OUT`, `--cache OUT.h5`, or both."
        raise UsageError(msg)
    if csv and len(models) > 1:
        msg = (
            f"A CSV holds the scores of one model, {len(models)} are given. Merge them first with "
            "`yt8m-ens merge`, or write `--cache` only."
        )
        raise UsageError(msg, models=tuple(models))
    for path in filter(None, (csv, cache)):
        files.check_absent(path, force=force)
    paths = files.expand_globs(data, option="--data")
    with open_models(models, architecture=architecture, num_classes=num_classes) as opened:
        first = opened[0]
        for other in opened[1:]:
            if (other.features, other.num_classes) != (first.features, first.num_classes):
                msg = (
                    f"'{first.name}' and '{other.name}' read different features or predict "
                    f"different classes ({first.num_classes}, {other.num_classes}). Cache them "
                    "separately."
                )
                raise ModelError(msg, models=(first.name, other.name))
        members = tuple(name for model in opened for name in model.members)
        if dry_run:
            return PredictResult(members, 0, csv, cache)
        with _Outputs(opened, csv=csv, cache=cache, top_k=top_k, force=force) as outputs:
            done = 0
            for batch in read_batches(
                paths,
                features=first.features,
                num_classes=first.num_classes,
                batch_size=batch_size,
            ):
                outputs.write(batch)
                done += len(batch.video_ids)
                progress("predict", done, None, unit="videos")
        return PredictResult(members, done, csv, cache)


class _Outputs:
    """Score batches and write them; both files appear when all of it went well."""

    def __init__(
        self,
        models: Sequence[OpenModel],
        *,
        csv: str | None,
        cache: str | None,
        top_k: int,
        force: bool,
    ) -> None:
        self._models, self._csv, self._cache = models, csv, cache
        self._top_k, self._force = top_k, force
        self._stack = ExitStack()

    def __enter__(self) -> _Outputs:
        with ExitStack() as stack:
            self._runners = [
                stack.enter_context(GraphRunner(model.graph, model.source))
                for model in self._models
            ]
            self._text: Any = None
            if self._csv:
                part = stack.enter_context(files.atomic_file(self._csv, force=self._force))
                self._text = stack.enter_context(Path(part).open("w", encoding="utf-8"))
                self._text.write(SUBMISSION_HEADER)
            self._writer: PredictionsWriter | None = None
            if self._cache:
                self._writer = stack.enter_context(
                    PredictionsWriter(
                        self._cache,
                        members=[name for model in self._models for name in model.members],
                        digests=[model.digest for model in self._models for _ in model.members],
                        num_classes=self._models[0].num_classes,
                        force=self._force,
                    )
                )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def write(self, batch: Batch) -> None:
        """Score one batch with every model and write its rows."""
        if self._text is not None:
            scores = self._runners[0].predict(batch.features, batch.num_frames)
            self._text.writelines(format_submission(batch.video_ids, scores, top_k=self._top_k))
        if self._writer is not None:
            members = [r.predict_members(batch.features, batch.num_frames) for r in self._runners]
            self._writer.append(batch.video_ids, np.concatenate(members), batch.labels)
