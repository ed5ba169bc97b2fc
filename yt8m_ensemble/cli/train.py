"""`yt8m-ens train`.

Options of architectures are spelled here, because `--help` may not load the models; a test holds
them equal to the registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from yt8m_ensemble.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable

ARCHITECTURE_OPTIONS: dict[str, tuple[bool | int | float | str, str]] = {
    "moe_num_mixtures": (2, "Experts a class, without the dummy."),
    "moe_l2": (1e-8, "L2 penalty on gates and experts."),
    "moe_low_rank_gating": (-1, "Rank of the gates; -1 is full."),
    "moe_prob_gating": (False, "Gate the probabilities."),
    "moe_prob_gating_input": (
        "prob",
        "Gate from the probabilities (prob) or the features (input).",
    ),
    "gating_remove_diag": (False, "Leave a class's own value out of its gate."),
    "video_level_classifier_model": ("MoeModel", "Classifier of pooled frames."),
    "iterations": (30, "Frames drawn of a video while training."),
    "sample_random_frames": (True, "Draw frames one by one; otherwise a run of them."),
    "netvlad_cluster_size": (64, "Clusters."),
    "netvlad_hidden_size": (1024, "Width of the first hidden layer."),
    "netvlad_add_batch_norm": (True, "Normalise assignments and gates."),
    "netvlad_relu": (True, "Kept because model files carry it."),
    "gating": (False, "Gate the pooled vector."),
    "lightvlad": (False, "Pool without cluster centres."),
    "vlagd": (False, "Pool with gated sums."),
}
"""Default and help by option name."""


def architecture_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with one option for each architecture option, `None` if not given."""
    for name, (default, text) in reversed(ARCHITECTURE_OPTIONS.items()):
        flag = f"--{name.replace('_', '-')}"
        shown = (
            f"{text} [default: {str(default).lower() if isinstance(default, bool) else default}]"
        )
        declaration = f"{flag}/--no-{flag[2:]}" if isinstance(default, bool) else flag
        kind = None if isinstance(default, bool) else type(default)
        command = click.option(declaration, name, type=kind, default=None, help=shown)(command)
    return command


@click.command(
    epilog=options.epilog(
        "yt8m-ens train --model MoeModel --train-data 'train*.tfrecord' --train-dir runs/moe2",
        "yt8m-ens train --model NetVLADModelLF --features frame --train-data 'train*.tfrecord' "
        "--train-dir runs/netvlad --netvlad-cluster-size 32 --gating --moe-prob-gating",
    )
)
@click.option("--model", required=True, metavar="NAME", help="Architecture, e.g. MoeModel.")
@click.option("--train-data", required=True, metavar="GLOB", help="Labelled records.")
@click.option("--train-dir", required=True, metavar="DIR", help="Where checkpoints go.")
@click.option(
    "--features", type=click.Choice(["video", "frame"]), default="video", show_default=True
)
@click.option("--feature-names", help="Comma-separated. [default: all of YouTube-8M]")
@click.option("--feature-sizes", help="Comma-separated. [default: YouTube-8M's]")
@click.option("--num-classes", type=click.IntRange(min=1), default=3862, show_default=True)
@click.option("--batch-size", type=int, help="Videos a step. [default: 1024]")
@click.option("--learning-rate", type=float, help="First learning rate. [default: 0.01]")
@click.option("--learning-rate-decay", type=float, help="Factor of a decay. [default: 0.95]")
@click.option(
    "--learning-rate-decay-examples", type=int, help="Examples between decays. [default: 4000000]"
)
@click.option("--loss", help="Label loss. [default: CrossEntropyLoss]")
@click.option("--optimizer", help="Optimizer. [default: Adam]")
@click.option(
    "--clip-gradient-norm", type=float, help="Largest norm a variable; 0 is none. [default: 1]"
)
@click.option("--regularization-penalty", type=float, help="Weight of L2 terms. [default: 1]")
@click.option("--num-epochs", type=int, help="Passes over the records; 0 is no end. [default: 5]")
@click.option("--max-steps", type=int, help="Steps in all. [default: no limit]")
@click.option("--save-steps", type=int, help="Steps between checkpoints. [default: 1000]")
@click.option("--log-steps", type=int, help="Steps between batch metrics. [default: 10]")
@click.option("--batch-norm-decay", type=float, help="Of moving averages. [default: 0.999]")
@click.option("--start-new-model", is_flag=True, help="Remove an earlier run from the directory.")
@options.seed_option
@options.dry_run_option
@options.json_option
@architecture_options
def train(
    *,
    features: str,
    feature_names: str | None,
    feature_sizes: str | None,
    as_json: bool,
    **others: object,
) -> None:
    """Train one model, or go on from the latest checkpoint of its directory."""
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps.train import TRAIN_ARGUMENTS, choose_features, train_model

    spec = choose_features(features, names=feature_names, sizes=feature_sizes)
    arguments = {name: others.pop(name) for name in TRAIN_ARGUMENTS}
    with render.ProgressBar() as progress:
        found = train_model(features=spec, settings=others, progress=progress, **arguments)  # type: ignore[arg-type]
    rows = [
        ["checkpoint", found.prefix],
        ["step", f"{found.global_step:,}"],
        ["tensors", f"{len(found.specs)}"],
        ["size", render.format_bytes(found.nbytes)],
    ]
    table = render.Table(f"{arguments['model']}", ["", ""], rows)
    render.emit(found, as_json=as_json, tables=[table])
