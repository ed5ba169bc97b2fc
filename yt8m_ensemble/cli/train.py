"""`yt8m-ens train`."""

from __future__ import annotations

from dataclasses import replace

import click

from yt8m_ensemble.cli.options import Given, command


@command(
    "train",
    "TrainOptions",
    dry_run=True,
    examples=(
        "yt8m-ens train --model MoeModel --train-data 'train*.tfrecord' --train-dir runs/moe2",
        "yt8m-ens train --model NetVLADModelLF --features frame --train-data 'train*.tfrecord' "
        "--train-dir runs/netvlad --netvlad-cluster-size 32 --gating --moe-prob-gating",
    ),
)
def train(given: Given) -> None:
    """Train one model, or go on from the newest checkpoint of its directory."""
    from yt8m_ensemble.cli.render import Table, format_bytes
    from yt8m_ensemble.options import TrainOptions, fields_of
    from yt8m_ensemble.steps.train import plan_train_model, train_model

    own = fields_of(TrainOptions)
    training = {key: value for key, value in given.values.items() if key in own}
    architecture = {key: value for key, value in given.values.items() if key not in own}
    run = plan_train_model if given.dry_run else train_model
    found = replace(given, values=training).run(
        run, model_options=architecture, on_warning=lambda text: click.echo(text, err=True)
    )
    rows = [
        ["checkpoint", found.prefix],
        ["step", f"{found.global_step:,}"],
        ["tensors", f"{len(found.specs)}"],
        ["size", format_bytes(found.nbytes)],
    ]
    given.emit(found, tables=[Table(f"{training['model']}", ["", ""], rows)])
