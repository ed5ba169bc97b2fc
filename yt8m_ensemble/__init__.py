"""Average, merge, weigh and package YouTube-8M video classifiers as one float16 graph.

The names below are the Python API: each command's function, and the values they exchange. They are
loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "CombinedSource": "values",
    "DictSource": "values",
    "EnsembleError": "errors",
    "FeatureSpec": "values",
    "Labels": "values",
    "MixtureWeights": "values",
    "ModelFlags": "values",
    "Predictions": "values",
    "TensorSource": "values",
    "TensorSpec": "values",
    "average_checkpoints": "steps.avg_ckpt",
    "compare_checkpoints": "steps.inspect",
    "compare_predictions": "steps.compare",
    "convert_checkpoint": "steps.convert_checkpoint",
    "convert_features": "steps.convert_records",
    "convert_predictions": "steps.convert_records",
    "convert_records": "steps.convert_records",
    "evaluate_model": "steps.eval",
    "evaluate_models": "steps.eval",
    "evaluate_predictions": "steps.eval_predictions",
    "global_average_precision": "metrics",
    "inspect_checkpoint": "steps.inspect",
    "inspect_graph": "steps.inspect_graph",
    "load_recipe": "recipe",
    "merge_models": "steps.merge",
    "merge_predictions": "steps.merge_predictions",
    "mix": "mixing",
    "open_checkpoint": "checkpoints",
    "open_model": "loading.model",
    "open_predictions": "storage",
    "package_model": "steps.package",
    "predict_scores": "steps.predict",
    "run_recipe": "recipe",
    "select_ensemble": "steps.select",
    "synthesize": "steps.synth",
    "train_model": "steps.train",
    "tune_weights": "steps.tune_weights",
    "verify_bundle": "steps.verify",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - one list of names, not two to keep alike


def __getattr__(name: str) -> Any:
    """Return a public name from its room, loaded now (PEP 562).

    Raises:
        AttributeError: If there is no such name.
    """
    if name not in _HOMES:
        msg = f"'yt8m_ensemble' has no '{name}'."
        raise AttributeError(msg)
    return getattr(import_module(f"yt8m_ensemble.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
