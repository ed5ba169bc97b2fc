"""The public names and where they are defined: read by type checkers, and by `__init__.py`."""

from yt8m_ensemble.averaging import average as average
from yt8m_ensemble.checkpoints import (
    open_checkpoint as open_checkpoint,
)
from yt8m_ensemble.checkpoints import (
    write_checkpoint as write_checkpoint,
)
from yt8m_ensemble.errors import EnsembleError as EnsembleError
from yt8m_ensemble.loading.model import (
    OpenModel as OpenModel,
)
from yt8m_ensemble.loading.model import (
    open_model as open_model,
)
from yt8m_ensemble.metrics import (
    global_average_precision as global_average_precision,
)
from yt8m_ensemble.metrics import (
    hit_at_one as hit_at_one,
)
from yt8m_ensemble.metrics import (
    mean_average_precision as mean_average_precision,
)
from yt8m_ensemble.metrics import (
    mean_average_precision_all_classes as mean_average_precision_all_classes,
)
from yt8m_ensemble.metrics import (
    precision_at_equal_recall_rate as precision_at_equal_recall_rate,
)
from yt8m_ensemble.mixing import mix as mix
from yt8m_ensemble.models import (
    Architecture as Architecture,
)
from yt8m_ensemble.models import (
    batch_norm as batch_norm,
)
from yt8m_ensemble.models import (
    dense as dense,
)
from yt8m_ensemble.models import (
    register as register,
)
from yt8m_ensemble.options import (
    AverageOptions as AverageOptions,
)
from yt8m_ensemble.options import (
    BlendOptions as BlendOptions,
)
from yt8m_ensemble.options import (
    CompareOptions as CompareOptions,
)
from yt8m_ensemble.options import (
    ConvertScoresOptions as ConvertScoresOptions,
)
from yt8m_ensemble.options import (
    EvalOptions as EvalOptions,
)
from yt8m_ensemble.options import (
    MergeOptions as MergeOptions,
)
from yt8m_ensemble.options import (
    ModelOptions as ModelOptions,
)
from yt8m_ensemble.options import (
    PackageOptions as PackageOptions,
)
from yt8m_ensemble.options import (
    PredictOptions as PredictOptions,
)
from yt8m_ensemble.options import (
    SelectOptions as SelectOptions,
)
from yt8m_ensemble.options import (
    SynthOptions as SynthOptions,
)
from yt8m_ensemble.options import (
    TrainOptions as TrainOptions,
)
from yt8m_ensemble.options import (
    TuneOptions as TuneOptions,
)
from yt8m_ensemble.options import (
    VerifyOptions as VerifyOptions,
)
from yt8m_ensemble.progress import Progress as Progress
from yt8m_ensemble.recipe import (
    load_recipe as load_recipe,
)
from yt8m_ensemble.recipe import (
    run_recipe as run_recipe,
)
from yt8m_ensemble.steps.avg_ckpt import (
    average_checkpoints as average_checkpoints,
)
from yt8m_ensemble.steps.avg_ckpt import (
    plan_average_checkpoints as plan_average_checkpoints,
)
from yt8m_ensemble.steps.blend import blend_scores as blend_scores
from yt8m_ensemble.steps.blend import plan_blend_scores as plan_blend_scores
from yt8m_ensemble.steps.compare import compare_predictions as compare_predictions
from yt8m_ensemble.steps.compare_graphs import compare_graphs as compare_graphs
from yt8m_ensemble.steps.convert_checkpoint import (
    convert_checkpoint as convert_checkpoint,
)
from yt8m_ensemble.steps.convert_checkpoint import (
    plan_convert_checkpoint as plan_convert_checkpoint,
)
from yt8m_ensemble.steps.convert_records import (
    convert_features as convert_features,
)
from yt8m_ensemble.steps.convert_records import (
    convert_predictions as convert_predictions,
)
from yt8m_ensemble.steps.convert_records import (
    convert_records as convert_records,
)
from yt8m_ensemble.steps.convert_records import (
    plan_convert_features as plan_convert_features,
)
from yt8m_ensemble.steps.convert_records import (
    plan_convert_predictions as plan_convert_predictions,
)
from yt8m_ensemble.steps.convert_records import (
    plan_convert_records as plan_convert_records,
)
from yt8m_ensemble.steps.convert_scores import convert_scores as convert_scores
from yt8m_ensemble.steps.convert_scores import plan_convert_scores as plan_convert_scores
from yt8m_ensemble.steps.edit import edit_weights as edit_weights
from yt8m_ensemble.steps.edit import plan_edit_weights as plan_edit_weights
from yt8m_ensemble.steps.eval import (
    evaluate_model as evaluate_model,
)
from yt8m_ensemble.steps.eval import (
    evaluate_models as evaluate_models,
)
from yt8m_ensemble.steps.eval_predictions import evaluate_predictions as evaluate_predictions
from yt8m_ensemble.steps.extract import extract_members as extract_members
from yt8m_ensemble.steps.extract import plan_extract_members as plan_extract_members
from yt8m_ensemble.steps.inspect import (
    compare_checkpoints as compare_checkpoints,
)
from yt8m_ensemble.steps.inspect import (
    inspect_checkpoint as inspect_checkpoint,
)
from yt8m_ensemble.steps.inspect_graph import inspect_graph as inspect_graph
from yt8m_ensemble.steps.merge import (
    merge_models as merge_models,
)
from yt8m_ensemble.steps.merge import (
    plan_merge_models as plan_merge_models,
)
from yt8m_ensemble.steps.merge_predictions import (
    merge_predictions as merge_predictions,
)
from yt8m_ensemble.steps.merge_predictions import (
    plan_merge_predictions as plan_merge_predictions,
)
from yt8m_ensemble.steps.package import (
    package_model as package_model,
)
from yt8m_ensemble.steps.package import (
    plan_package_model as plan_package_model,
)
from yt8m_ensemble.steps.predict import (
    plan_predict_scores as plan_predict_scores,
)
from yt8m_ensemble.steps.predict import (
    predict_scores as predict_scores,
)
from yt8m_ensemble.steps.predict import (
    write_scores as write_scores,
)
from yt8m_ensemble.steps.report import make_report as make_report
from yt8m_ensemble.steps.select import (
    plan_select_ensemble as plan_select_ensemble,
)
from yt8m_ensemble.steps.select import (
    select_ensemble as select_ensemble,
)
from yt8m_ensemble.steps.synth import (
    plan_synthesize as plan_synthesize,
)
from yt8m_ensemble.steps.synth import (
    synthesize as synthesize,
)
from yt8m_ensemble.steps.train import (
    plan_train_model as plan_train_model,
)
from yt8m_ensemble.steps.train import (
    train_model as train_model,
)
from yt8m_ensemble.steps.tune_weights import (
    plan_tune_weights as plan_tune_weights,
)
from yt8m_ensemble.steps.tune_weights import (
    tune_weights as tune_weights,
)
from yt8m_ensemble.steps.verify import verify_bundle as verify_bundle
from yt8m_ensemble.storage import open_predictions as open_predictions
from yt8m_ensemble.storage.arrays import write_predictions as write_predictions
from yt8m_ensemble.values import (
    CombinedSource as CombinedSource,
)
from yt8m_ensemble.values import (
    DictSource as DictSource,
)
from yt8m_ensemble.values import (
    FeatureSpec as FeatureSpec,
)
from yt8m_ensemble.values import (
    Labels as Labels,
)
from yt8m_ensemble.values import (
    MixtureWeights as MixtureWeights,
)
from yt8m_ensemble.values import (
    ModelFlags as ModelFlags,
)
from yt8m_ensemble.values import (
    Predictions as Predictions,
)
from yt8m_ensemble.values import (
    TensorSource as TensorSource,
)
from yt8m_ensemble.values import (
    TensorSpec as TensorSpec,
)

__version__: str
__all__: list[str]
