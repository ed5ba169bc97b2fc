"""A whole run as data: a TOML recipe → the steps of the commands, in order, each only once.

Holds no rule of any step: it names inputs and outputs, and remembers their digests.
"""

from yt8m_ensemble.recipe.document import Recipe, load_recipe
from yt8m_ensemble.recipe.report import EnsembleReport, ReportRow
from yt8m_ensemble.recipe.run import RecipeResult, StepOutcome, run_recipe

__all__ = [
    "EnsembleReport",
    "Recipe",
    "RecipeResult",
    "ReportRow",
    "StepOutcome",
    "load_recipe",
    "run_recipe",
]
