"""`yt8m-ens convert`: one subcommand for each kind of file."""

from __future__ import annotations

import click

from yt8m_ensemble.cli import convert_records as records
from yt8m_ensemble.cli import options


@click.group()
def convert() -> None:
    """Convert weights, predictions or records between formats."""


convert.add_command(records.convert_features)
convert.add_command(records.convert_predictions)
convert.add_command(records.convert_records)


@convert.command(
    epilog=options.epilog(
        "yt8m-ens convert checkpoint runs/avg/moe2 moe2.safetensors",
        "yt8m-ens convert checkpoint moe2.weights.h5 runs/moe2/model.ckpt-1",
    )
)
@click.argument("source")
@click.argument("out")
@options.writes_output
def checkpoint(source: str, out: str, *, as_json: bool, force: bool, dry_run: bool) -> None:
    """Convert SOURCE to OUT: checkpoint prefix, .safetensors or Keras .weights.h5.

    The names' endings tell the formats. Every tensor, dtype and string comes back bit for bit.
    """
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps.convert_checkpoint import convert_checkpoint

    with render.ProgressBar() as progress:
        result = convert_checkpoint(source, out, force=force, dry_run=dry_run, progress=progress)
    size = render.format_bytes(result.nbytes)
    text = f"{result.num_tensors} tensors, {size}: {result.out}"
    render.emit(result, as_json=as_json, text=text)
