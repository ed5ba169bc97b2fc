"""`avg-ckpt`: the weighted mean of checkpoints of one run, as an ordinary checkpoint.

Whatever can be known is checked before the first byte of weights is read. The train directory's
`checkpoint` state file is never touched.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yt8m_ensemble import files
from yt8m_ensemble.averaging import AveragePlan, average_weights, mean_blocks, plan_average
from yt8m_ensemble.checkpoints import (
    CheckpointWriter,
    last_prefixes,
    open_checkpoint,
    range_prefixes,
    step_prefix,
)
from yt8m_ensemble.errors import CheckpointError, UsageError
from yt8m_ensemble.steps.provenance import write_provenance
from yt8m_ensemble.values import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from yt8m_ensemble.checkpoints import TfCheckpoint
    from yt8m_ensemble.values import TensorSpec

_TRAIN_PREFIX = "model.ckpt"
_SPARE_BYTES = 1 << 20  # index, provenance, meta graph


@dataclass(frozen=True)
class AveragedCheckpoint:
    """Say what an average was made of.

    Args:
        prefix: The average, or where it would be written.
        global_step: That of the newest input; `None` if it holds none.
        inputs: Prefixes of the inputs, in the order of `weights`.
        weights: Weight of each input, sum 1.
        num_tensors: Tensors in the average.
        nbytes: Bytes of its numeric tensors.
        dropped: Names of the optimizer's tensors that were left out.
    """

    prefix: str
    global_step: int | None
    inputs: tuple[str, ...]
    weights: tuple[float, ...]
    num_tensors: int
    nbytes: int
    dropped: tuple[str, ...]


def average_checkpoints(
    *,
    prefix: str | Sequence[str] = (),
    step_range: tuple[int, int] | None = None,
    checkpoints: Sequence[str | int] | None = None,
    last: int | None = None,
    weights: str | Sequence[float] = "uniform",
    out: str,
    keep_optimizer: bool = False,
    allow_nonfinite: bool = False,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> AveragedCheckpoint:
    """Average checkpoints, summed in float64 and stored in the inputs' dtypes.

    Args:
        prefix: A train directory, its `DIR/model.ckpt`, or a whole checkpoint prefix; or several.
        step_range: First and last step to take from each directory, both included.
        checkpoints: Steps to take from each directory, or whole checkpoint prefixes.
        last: How many of the newest to take from each directory.
        weights: `uniform`, `linear`, `ema:DECAY`, or a number for each input, oldest first.
        out: Prefix of the average.
        keep_optimizer: Average the optimizer's slots too, in place of leaving them out.
        allow_nonfinite: Let NaN and infinities in an input through.
        force: Replace an existing output.
        dry_run: Check only; write nothing.
        progress: Told the bytes of the output that are done.

    Returns:
        What was averaged, or would be.

    Raises:
        CheckpointNotFoundError: If a checkpoint is not there.
        CheckpointError: If an input is unfinished or damaged, comes twice, or holds NaN.
        TensorMismatchError: If names, shapes, dtypes or integers differ.
        OutputExistsError: If `out` exists and `force` is not set.
        UsageError: If the options do not say which checkpoints to take.
    """
    prefixes = select_checkpoints(
        [prefix] if isinstance(prefix, str) else prefix,
        step_range=step_range,
        checkpoints=checkpoints,
        last=last,
    )
    files.check_absent(f"{out}.index", force=force)
    shares = average_weights(weights, len(prefixes))
    with ExitStack() as stack:
        sources = {path: stack.enter_context(open_checkpoint(path)) for path in prefixes}
        newest = max(prefixes, key=lambda path: _step(sources[path]))
        plan = plan_average(sources, newest=newest, keep_optimizer=keep_optimizer)
        nbytes = sum(spec.nbytes for spec in plan.averaged)
        nbytes += sum(array.nbytes for array in plan.copied.values())
        _check_space(out, nbytes)
        result = AveragedCheckpoint(
            prefix=out,
            global_step=sources[newest].global_step,
            inputs=tuple(prefixes),
            weights=shares,
            num_tensors=len(plan.averaged) + len(plan.copied),
            nbytes=nbytes,
            dropped=plan.dropped,
        )
        if not dry_run:
            means = mean_blocks(sources, plan.averaged, shares, allow_nonfinite=allow_nonfinite)
            _write(out, plan, means, force=force, progress=progress)
            _carry_meta_graph(newest, out, plan)
            write_provenance(
                out,
                command="avg-ckpt",
                inputs={path: index_digest(path) for path in prefixes},
                options={"weights": shares, "keep_optimizer": keep_optimizer},
                global_step=result.global_step,
                model_flags=_find_flags(newest),
            )
        return result


def select_checkpoints(
    prefixes: Sequence[str],
    *,
    step_range: tuple[int, int] | None = None,
    checkpoints: Sequence[str | int] | None = None,
    last: int | None = None,
) -> list[str]:
    """Find the checkpoints that options name.

    Args:
        prefixes: Train directories, their `DIR/model.ckpt`, or whole checkpoint prefixes.
        step_range: First and last step to take from each directory, both included.
        checkpoints: Steps to take from each directory, or whole checkpoint prefixes.
        last: How many of the newest to take from each directory.

    Returns:
        Checkpoint prefixes: of each directory in turn, oldest first or as listed.

    Raises:
        CheckpointNotFoundError: If one is not there.
        CheckpointError: If one comes twice.
        UsageError: If none or several ways to choose are given, or none applies.
    """
    whole = [path for path in prefixes if files.exists(f"{path}.index")]
    directories = [_train_dir(path) for path in prefixes if path not in whole]
    ways = [way for way in (step_range, checkpoints, last) if way is not None]
    if len(ways) > 1 or (directories and not ways) or not (prefixes or checkpoints):
        msg = (
            "Say which checkpoints to average by one of `--range A,B`, `--checkpoints a,b,c` and "
            "`--last N`, with `--prefix` for the train directory."
        )
        raise UsageError(msg, ways=len(ways))
    steps = [str(item) for item in checkpoints or () if str(item).isdecimal()]
    chosen = whole + [str(item) for item in checkpoints or () if str(item) not in steps]
    if steps and not directories:
        msg = f"Step {steps[0]} is of no train directory. Name it with `--prefix DIR`."
        raise UsageError(msg, steps=steps)
    for directory in directories:
        if step_range is not None:
            chosen += range_prefixes(directory, *step_range)
        elif last is not None:
            chosen += last_prefixes(directory, last)
        chosen += [step_prefix(directory, int(step)) for step in steps]
    _check_distinct(chosen)
    return chosen


def index_digest(prefix: str) -> str:
    """Return the SHA-256 of a checkpoint's index, which holds the checksum of every tensor."""
    return hashlib.sha256(files.read_bytes(f"{prefix.removesuffix('.index')}.index")).hexdigest()


def _train_dir(path: str) -> str:
    directory, _, base = path.rstrip("/").rpartition("/")
    return (directory or ".") if base == _TRAIN_PREFIX else path


def _check_distinct(prefixes: Sequence[str]) -> None:
    """Refuse a checkpoint that comes twice, under whatever spelling.

    Raises:
        CheckpointError: If one does.
    """
    seen: dict[str, str] = {}
    for prefix in prefixes:
        place = prefix if files.is_remote(prefix) else str(Path(prefix).resolve())
        if place in seen:
            msg = f"'{prefix}' is given twice. Name it once; `--weights` can count it more."
            raise CheckpointError(msg, prefix=prefix)
        seen[place] = prefix


def _check_space(out: str, nbytes: int) -> None:
    """Refuse an output that its disk cannot hold.

    Raises:
        CheckpointError: If there are fewer bytes free.
    """
    if files.is_remote(out):
        return
    place = Path(out).resolve().parent
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < nbytes + _SPARE_BYTES:
        msg = (
            f"'{out}' needs {nbytes + _SPARE_BYTES:,} bytes, its disk has {free:,} free. "
            "Make room, or choose another `--out`."
        )
        raise CheckpointError(msg, out=out, found=free, expected=nbytes + _SPARE_BYTES)


def _step(source: TfCheckpoint) -> int:
    """Return a number by which a checkpoint is newer than another."""
    match = re.search(r"-(\d+)$", source.prefix)
    step = source.global_step
    return step if step is not None else int(match[1]) if match else -1


def _write(
    out: str,
    plan: AveragePlan,
    means: Iterator[tuple[TensorSpec, Iterator[NDArray[Any]]]],
    *,
    force: bool,
    progress: Progress,
) -> None:
    total = sum(spec.nbytes for spec in plan.averaged)
    done = 0

    def watched(blocks: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        nonlocal done
        for block in blocks:
            yield block
            done += block.nbytes
            progress("average", done / 1e6, total / 1e6, unit="MB")

    averaged = {spec.name for spec in plan.averaged}
    with CheckpointWriter(out, force=force) as writer:
        # In the order of names, as TensorFlow's Saver writes.
        for name in sorted(averaged | plan.copied.keys()):
            if name in averaged:
                spec, blocks = next(means)
                writer.add_blocks(spec, watched(blocks))
            else:
                writer.add(name, plan.copied[name])


def _carry_meta_graph(newest: str, out: str, plan: AveragePlan) -> None:
    """Copy the newest input's meta graph if its saver would find every variable in the average."""
    if not plan.dropped and files.exists(f"{newest}.meta"):
        with files.atomic_file(f"{out}.meta", force=True) as part:
            Path(part).write_bytes(files.read_bytes(f"{newest}.meta"))


def _find_flags(prefix: str) -> Mapping[str, Any] | None:
    """Return the flags of a model, from its train directory or the provenance of an average."""
    directory, _, _ = prefix.rpartition("/")
    beside = f"{directory}/model_flags.json" if directory else "model_flags.json"
    if files.exists(f"{prefix}.provenance.json"):
        embedded = json.loads(files.read_text(f"{prefix}.provenance.json")).get("model_flags")
    elif files.exists(beside):
        embedded = json.loads(files.read_text(beside))
    else:
        embedded = None
    return embedded if isinstance(embedded, dict) else None
