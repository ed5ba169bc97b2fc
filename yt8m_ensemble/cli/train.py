"""`yt8m-ens train`.

Options of training and of architectures are spelled here, because `--help` may not load either; a
test holds them equal to `TrainOptions` and the registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from yt8m_ensemble.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Defaults = dict[str, tuple[bool | int | float | str, str]]

TRAIN_OPTIONS: Defaults = {
    "batch_size": (1024, "Videos a step, over all workers."),
    "learning_rate": (0.01, "First learning rate."),
    "learning_rate_decay": (0.95, "Factor of a decay."),
    "learning_rate_decay_examples": (4_000_000, "Examples between decays."),
    "loss": ("CrossEntropyLoss", "CrossEntropyLoss, HingeLoss or SoftmaxLoss."),
    "label_smoothing": (0.0, "Share of the labels spread over all classes."),
    "teacher": ("", "Prediction file mixed into the targets."),
    "teacher_weight": (0.5, "Its share."),
    "optimizer": ("Adam", "Adam, SGD, Adagrad, RMSProp or AdamW."),
    "weight_decay": (0.01, "Decay of matrices, AdamW only."),
    "clip_gradient_norm": (1.0, "Largest norm of a variable's gradient; 0 is none."),
    "regularization_penalty": (1.0, "Weight of the L2 terms."),
    "batch_norm_decay": (0.999, "Decay of batch norm's moving averages."),
    "ema_decay": (0.0, "Decay of averaged weights kept beside; 0 keeps none."),
    "precision": ("float32", "Of matrix products: float32 or bfloat16."),
    "num_epochs": (5, "Passes over the records; 0 is no end."),
    "max_steps": (0, "Steps in all; 0 is no limit."),
    "save_steps": (1000, "Steps between checkpoints."),
    "log_steps": (10, "Steps between batch metrics."),
    "export_steps": (0, "Steps between exports as a SavedModel; 0 is none."),
    "validation_data": ("", "Globs of records scored at every checkpoint."),
    "early_stop": (0, "Checkpoints without a better validation GAP to stop after; 0 never."),
    "seed": (0, "Seed of every random draw."),
}
"""Default and help of each field of `TrainOptions`."""

ARCHITECTURE_OPTIONS: Defaults = {
    "moe_num_mixtures": (2, "Experts a class, without the dummy."),
    "moe_l2": (1e-8, "L2 penalty on gates and experts."),
    "moe_low_rank_gating": (-1, "Rank of the gates; -1 is full."),
    "moe_prob_gating": (False, "Gate the probabilities."),
    "moe_prob_gating_input": ("prob", "Gate from the probabilities (prob) or features (input)."),
    "gating_remove_diag": (False, "Leave a class's own value out of its gate."),
    "video_level_classifier_model": ("MoeModel", "Classifier of pooled frames."),
    "iterations": (30, "Frames drawn of a video while training."),
    "sample_random_frames": (True, "Draw frames one by one; otherwise a run of them."),
    "gating": (False, "NetVLAD, NetFV: gate the pooled vector."),
    "netvlad_cluster_size": (64, "NetVLAD: clusters."),
    "netvlad_hidden_size": (1024, "NetVLAD: width of the first hidden layer."),
    "netvlad_add_batch_norm": (True, "NetVLAD, NetFV: batch norm."),
    "netvlad_relu": (True, "WillowNetVLADModelLF: relu6 after the hidden layer."),
    "netvlad_dimred": (-1, "WillowNetVLADModelLF: size to reduce each pool to; -1 is none."),
    "lightvlad": (False, "NetVLAD: pool without cluster centres."),
    "vlagd": (False, "NetVLAD: pool with gated sums."),
    "fv_cluster_size": (64, "NetFV: clusters."),
    "fv_hidden_size": (2048, "NetFV: width of the hidden layer."),
    "fv_relu": (True, "NetFV: relu6 after the hidden layer."),
    "fv_couple_weights": (True, "NetFV: centres are scaled assignment weights."),
    "fv_coupling_factor": (0.01, "NetFV: their scale."),
    "dbof_cluster_size": (8192, "DBoF: clusters (16384 for the LF models)."),
    "dbof_hidden_size": (1024, "DBoF: width of the hidden layer (2048 for the LF models)."),
    "dbof_add_batch_norm": (True, "DBoF: batch norm."),
    "dbof_pooling_method": ("max", "DbofModel: max or average."),
    "dbof_activation": ("relu", "DbofModelLF: relu or glu."),
    "dbof_relu": (True, "DBoF of the LF models: relu6 after the hidden layer."),
    "softdbof_maxpool": (False, "SoftDbofModelLF: add the maxima."),
    "fc_dimred": (True, "SoftDbofModelLF: compress by the hidden layer."),
    "lstm_cells": (1024, "LSTM: cells a layer."),
    "lstm_layers": (2, "LSTM: layers."),
    "lstm_random_sequence": (False, "LSTM: draw frames while training."),
    "lstm_backward": (False, "LSTM: read the last frame first."),
    "gru_cells": (1024, "GRU: cells a layer."),
    "gru_layers": (2, "GRU: layers."),
    "gru_random_sequence": (False, "GRU: draw frames while training."),
    "gru_backward": (False, "GRU: read the last frame first."),
    "nextvlad_cluster_size": (64, "NeXtVLAD: clusters."),
    "nextvlad_hidden_size": (1024, "NeXtVLAD: width of the hidden layer."),
    "groups": (8, "NeXtVLAD: groups."),
    "expansion": (2, "NeXtVLAD: factor of the expansion."),
    "drop_rate": (0.5, "NeXtVLAD: share of values dropped while training."),
    "gating_reduction": (8, "NeXtVLAD: factor by which gating squeezes."),
}
"""Default and help of every architecture option; an option of several models has one meaning."""


def spelled(table: Mapping[str, tuple[object, str]]) -> Callable[..., Callable[..., None]]:
    """Return a decorator that adds one option for each entry; one not given is `None`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for name, (default, text) in reversed(list(table.items())):
            flag = f"--{name.replace('_', '-')}"
            is_switch = isinstance(default, bool)
            shown = str(default).lower() if is_switch else default if default != "" else "none"
            command = click.option(
                f"{flag}/--no-{flag[2:]}" if is_switch else flag,
                name,
                type=None if is_switch else type(default),
                default=None,
                help=f"{text} [default: {shown}]",
            )(command)
        return command

    return decorate


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
    "--features",
    type=click.Choice(["video", "frame"]),
    default="video",
    show_default=True,
    help="Level of the records.",
)
@click.option("--feature-names", help="Comma-separated. [default: all of YouTube-8M]")
@click.option("--feature-sizes", help="Comma-separated. [default: YouTube-8M's]")
@click.option(
    "--num-classes",
    type=click.IntRange(min=1),
    default=3862,
    show_default=True,
    help="Size of the vocabulary.",
)
@click.option("--start-new-model", is_flag=True, help="Remove an earlier run from the directory.")
@options.dry_run_option
@options.json_option
@spelled(TRAIN_OPTIONS)
@spelled(ARCHITECTURE_OPTIONS)
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
