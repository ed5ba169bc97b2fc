"""`yt8m-ens merge`."""

from __future__ import annotations

import click

from yt8m_ensemble.cli import options


@click.command(
    epilog=options.epilog(
        "yt8m-ens merge --member runs/moe2 --member runs/moe4 --fp16 --out blend",
        "yt8m-ens merge --member a=avg_a --member b=avg_b --weights weights.json --out blend",
    )
)
@click.option(
    "--member", "members", multiple=True, metavar="[NAME=]PATH", help="A model; repeat for each."
)
@click.option("--weights", metavar="FILE|a,b,…", help="A `tune-weights` file, or numbers in order.")
@click.option("--normalize", is_flag=True, help="Rescale numbers that do not sum to one.")
@click.option(
    "--mix",
    type=click.Choice(["probability", "logit", "geometric"]),
    help="Where members are averaged.  [default: as the weights file, else probability]",
)
@click.option("--fp16", is_flag=True, help="Store weights as float16.")
@click.option(
    "--fp16-policy",
    type=click.Choice(["auto", "seed"]),
    default="auto",
    show_default=True,
    help="Which: all of 1,024 values or more but batch-norm statistics, or the original's four.",
)
@click.option(
    "--quantize",
    type=click.Choice(["uint8", "uint8-quantile", "uint8-kmeans", "uint4"]),
    help="Code weight matrices in 8 or 4 bits; the rest as `--fp16` says.",
)
@click.option("--keep-float32", multiple=True, metavar="NAME", help="A tensor to leave as it is.")
@click.option(
    "--naming",
    type=click.Choice(["seed", "scoped"]),
    default="scoped",
    show_default=True,
    help="Variables as the 10th-place solution names them, or below each member's name.",
)
@click.option(
    "--fix-frames",
    "with_fixed_frames",
    is_flag=True,
    help="Replace random draws of frames by evenly spaced true frames.",
)
@click.option(
    "--input", "input_batch_raw", metavar="TENSOR", help="Where a graph does not name it."
)
@click.option("--num-frames", metavar="TENSOR", help="Where a graph does not name it.")
@click.option("--predictions", metavar="TENSOR", help="Where a graph does not name it.")
@click.option(
    "--target",
    type=click.Choice(["tf1.14", "any"]),
    default="tf1.14",
    show_default=True,
    help="What must load the result: the official readers, or any TensorFlow.",
)
@click.option("--architecture", metavar="NAME", help="Overrides what the members' files say.")
@options.num_classes_option
@click.option("--out", required=True, metavar="DIR", help="Directory of the inference model.")
@options.writes_output
def merge(
    *,
    members: tuple[str, ...],
    weights: str | None,
    mix: str | None,
    fp16: bool,
    fp16_policy: str,
    input_batch_raw: str | None,
    num_frames: str | None,
    predictions: str | None,
    as_json: bool,
    **others: object,
) -> None:
    """Merge models into one inference graph with the mixture weights inside.

    Members may be of any architecture or code, as long as they read the same features and predict
    the same classes. Work that members share, such as normalising the input, is done once.
    """
    from yt8m_ensemble.cli import render
    from yt8m_ensemble.steps.merge import merge_models

    tensors = {
        "input_batch_raw": input_batch_raw,
        "num_frames": num_frames,
        "predictions": predictions,
    }
    with render.ProgressBar() as progress:
        result = merge_models(
            members=members,
            weights=options.parse_weights(weights),
            mix=mix,  # type: ignore[arg-type]  # click has checked the choice
            fp16=fp16_policy if fp16 else "none",  # type: ignore[arg-type]
            tensors={name: tensor for name, tensor in tensors.items() if tensor},
            progress=progress,
            **others,  # type: ignore[arg-type]  # click has checked the types
        )
    sizes = result.member_nbytes
    shares = zip(result.weights.names, result.weights.values, strict=True)
    rows = [[name, f"{share:.4f}", render.format_bytes(sizes[name])] for name, share in shares]
    rows.append(["merged", "1.0000", render.format_bytes(result.nbytes)])
    tables = [render.Table(f"Mixed by {result.weights.space}", ["member", "weight", "size"], rows)]
    if result.casts:
        tables.append(render.cast_table(result.casts))
    render.emit(result, as_json=as_json, tables=tables, text=result.directory)
