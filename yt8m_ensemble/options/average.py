"""Options of `avg-ckpt`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from yt8m_ensemble.errors import UsageError
from yt8m_ensemble.options.field import option
from yt8m_ensemble.options.shared import OutputOptions


@dataclass(frozen=True, kw_only=True)
class AverageOptions(OutputOptions):
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
    last: Annotated[int | None, option("Take the N newest.", ge=1, metavar="N")] = None
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
            "Held-out records by which `--soup`, `--search` and `--recalibrate-bn` are judged.",
            metavar="GLOB",
        ),
    ] = None
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
        judged = {
            "--soup": self.soup,
            "--search": self.search,
            "--recalibrate-bn": self.recalibrate_bn,
        }
        given = [name for name, value in judged.items() if value]
        if given and not self.eval_data:
            msg = f"`{given[0]}` needs held-out records to judge by. Name them with `--eval-data`."
            raise UsageError(msg, option=given[0])
        if self.eval_data and not given:
            msg = "`--eval-data` judges `--soup`, `--search` or `--recalibrate-bn`; none is given."
            raise UsageError(msg, option="--eval-data")
        chosen = self.soup or self.search
        if (self.soup and self.search) or (chosen and self.weights != "uniform"):
            msg = "`--soup`, `--search` and `--weights` each say how inputs count. Give one."
            raise UsageError(msg, soup=self.soup, search=self.search, weights=self.weights)
