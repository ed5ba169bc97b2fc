"""`yt8m-ens predict`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yt8m_ensemble.cli.options import Given, command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yt8m_ensemble.loading.model import OpenedFile


@command(
    "predict",
    "PredictOptions",
    dry_run=True,
    examples=(
        "yt8m-ens predict --model blend.tgz --data 'test*.tfrecord' --csv submission.csv",
        "yt8m-ens predict --model a=avg_a --model b=avg_b --data 'val*' --cache val.h5",
        "yt8m-ens predict --model blend --data 'val*' --cache part0.h5 --shard 0/2",
        "yt8m-ens predict --model blend --data 'val*' --cache val.h5 --runner beam --num-workers 2",
    ),
)
def predict(given: Given) -> None:
    """Score records, once, with all models: a Kaggle CSV, a prediction cache, or both.

    An interrupted cache is continued where it stopped when the same command is given again.
    """
    from yt8m_ensemble.steps.predict import plan_predict_scores, write_scores

    if given.dry_run:
        planned = given.run(plan_predict_scores)
        text = f"{len(planned.record_files)} record files would be scored with "
        text += f"{len(planned.members)} members: {', '.join(planned.members)}"
        given.emit(planned, text="\n".join((text, *_opened(planned.opened))))
        return
    result = given.run(write_scores)
    text = f"{result.num_videos} videos, {len(result.members)} members: {', '.join(result.members)}"
    if result.num_resumed:
        text += f". Scores of {result.num_resumed} videos were there from an earlier run."
    given.emit(result, text="\n".join((text, *_opened(result.opened), *result.warnings)))


def _opened(found: Sequence[OpenedFile]) -> list[str]:
    return [f"{model.name}: {model.label}" for model in found]
