"""Options of `avg-ckpt`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.options.field import option
from yt8m_ensemble.options.shared import ImportOptions, OutputOptions


def judging_options(values: Mapping[str, Any]) -> list[str]:
    """Return the options that choose by records, as the command line spells them.

    Args:
        values: Values of `AverageOptions` by name.
    """
    wanted = {
        "--soup": values.get("soup"),
        "--search": values.get("search"),
        "--last auto": values.get("last") == "auto",
        "--recalibrate-bn": values.get("recalibrate_bn"),
    }
    return [name for name, value in wanted.items() if value]


@dataclass(frozen=True, kw_only=True)
class AverageOptions(OutputOptions, ImportOptions):
    """Options of `average_checkpoints`.

    Raises:
        UsageError: If they contradict each other.
    """

    prefix: Annotated[
        str | Sequence[str],
        option(
            "A train directory, its DIR/NAME, one checkpoint or file of weights; repeat for more.",
            metavar="PATH",
            parse="repeat",
        ),
    ] = ()
    step_range: Annotated[
        tuple[int, int] | None,
        option(
            "Take the steps from A to B, both included.",
            ge=0,
            flag="--range",
            metavar="A,B",
            parse="range",
        ),
    ] = None
    checkpoints: Annotated[
        Sequence[str | int] | None,
        option(
            "Steps of the train directory, or whole checkpoint prefixes.",
            metavar="a,b,c",
            parse="comma",
        ),
    ] = None
    last: Annotated[
        int | Literal["auto"] | None,
        option(
            "Take the N newest; `auto` takes the average of up to 20 that is best on "
            "`--eval-data`, and the last checkpoint where none is better for certain.",
            ge=1,
            metavar="N|auto",
            parse="count",
        ),
    ] = None
    weights: Annotated[
        str | Sequence[float],
        option(
            "How much each checkpoint counts, oldest first.", metavar="uniform|linear|ema:D|a,b,…"
        ),
    ] = "uniform"
    soup: Annotated[
        Literal["greedy"] | None,
        option("Average only the checkpoints that raise GAP on `--eval-data`."),
    ] = None
    search: Annotated[
        bool,
        option("Average the last k, for the k of the highest GAP on `--eval-data`; draw them all."),
    ] = False
    eval_data: Annotated[
        str | None,
        option(
            "Records by which `--last auto`, `--soup`, `--search` and `--recalibrate-bn` choose.",
            metavar="GLOB",
        ),
    ] = None
    holdout: Annotated[
        float | None,
        option(
            "Share of their videos that chooses nothing, and judges what `--last auto` chose.",
            ge=0,
            lt=1,
            default="0.5 with `--last auto`, else 0",
        ),
    ] = None
    seed: Annotated[int, option("Seed of that split and of the bootstrap.", ge=0)] = 0
    recalibrate_bn: Annotated[
        str | None,
        option(
            "Estimate batch norm anew over these records; keep it if GAP on `--eval-data` rises.",
            metavar="GLOB",
        ),
    ] = None
    batch_size: Annotated[int, option("Videos a batch where records are read.", ge=1)] = 1024
    keep_optimizer: Annotated[bool, option("Average the optimizer's slots as well.")] = False
    use_ema: Annotated[
        bool, option("Average the moving averages that training kept, not the variables.")
    ] = False
    allow_different_runs: Annotated[bool, option("Average weights of different training runs.")] = (
        False
    )
    allow_nonfinite: Annotated[bool, option("Accept NaN and infinity in the inputs.")] = False
    out: Annotated[
        str,
        option(
            "Prefix of the averaged checkpoint, or a `.safetensors` or `.h5` file.",
            metavar="PREFIX",
        ),
    ]

    def check(self) -> None:
        """Refuse options that contradict each other before anything is opened.

        Raises:
            UsageError: If they do.
        """
        given = judging_options(vars(self))
        if given and not self.eval_data:
            msg = f"`{given[0]}` needs held-out records to judge by. Name them with `--eval-data`."
            raise UsageError(msg, option=given[0])
        if self.eval_data and not given:
            msg = (
                "`--eval-data` judges `--last auto`, `--soup`, `--search` or `--recalibrate-bn`; "
                "none is given."
            )
            raise UsageError(msg, option="--eval-data")
        ways = [self.soup, self.search, self.last == "auto", self.weights != "uniform"]
        if sum(map(bool, ways)) > 1:
            msg = (
                "`--last auto`, `--soup`, `--search` and `--weights` each say how inputs count. "
                "Give one."
            )
            raise UsageError(msg, soup=self.soup, search=self.search, weights=self.weights)
