"""Names and options: what is taken, what is refused, and in which words."""

import pytest

from tests.builders.models import VIDEO, random_weights, raw_flags, small_flags, specs_of
from yt8m_ensemble.errors import ModelError
from yt8m_ensemble.models import build_graph, make_model, model_options, recognize
from yt8m_ensemble.values import FeatureSpec, ModelFlags, TensorSpec

pytestmark = pytest.mark.tf


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(
        ModelError, match=r"no model 'MoModel'; did you mean 'MoeModel'\?"
    ) as caught:
        make_model("MoModel")
    assert caught.value.nearest == "MoeModel"


def test_an_unknown_option_gets_the_nearest():
    with pytest.raises(ModelError, match="did you mean 'moe_num_mixtures'") as caught:
        make_model("MoeModel", {"moe_mixtures": 2})
    assert caught.value.option == "moe_mixtures"


@pytest.mark.parametrize(
    ("given", "kept"), [("3", 3), (3.0, 3), (3, 3)], ids=["text", "float", "int"]
)
def test_values_become_the_type_of_their_default(given, kept):
    value = model_options(make_model("MoeModel", {"moe_num_mixtures": given}))["moe_num_mixtures"]
    assert value == kept
    assert type(value) is int


def test_switches_take_the_words_of_the_originals_flags():
    for word, value in (("True", True), ("false", False)):
        made = make_model("MoeModel", {"moe_prob_gating": word})
        assert model_options(made)["moe_prob_gating"] is value


@pytest.mark.parametrize(
    ("option", "value"),
    [("moe_num_mixtures", 2.5), ("moe_num_mixtures", True), ("moe_num_mixtures", "two"),
     ("moe_prob_gating", 1), ("moe_prob_gating", "yes"), ("moe_l2", None)],
)  # fmt: skip
def test_other_values_are_refused(option, value):
    with pytest.raises(ModelError, match=f"Option '{option}' of MoeModel: expected") as caught:
        make_model("MoeModel", {option: value})
    assert caught.value.found == value


@pytest.mark.parametrize(
    ("model", "option", "value"),
    [
        ("MoeModel", "moe_prob_gating_input", "probs"),
        ("DbofModel", "dbof_pooling_method", "median"),
        ("DbofModel", "video_level_classifier_model", "Moe"),
        ("DbofModelLF", "dbof_activation", "elu"),
    ],
)
def test_choices_list_what_there_is(model, option, value):
    with pytest.raises(
        ModelError, match=f"'{option}' of {model}: expected one of .*, got .{value}"
    ) as caught:
        make_model(model, {option: value})
    assert (caught.value.option, caught.value.found) == (option, value)


def test_the_level_must_fit():
    with pytest.raises(ModelError, match="LstmModel reads frame-level features") as caught:
        make_model("LstmModel", frame_level=False)
    assert caught.value.frame_level is False


def test_two_features_at_most_are_pooled_apart():
    three = FeatureSpec(("a", "b", "c"), (2, 2, 2), frame_level=True)
    with pytest.raises(ModelError, match="at most two features apart, got 3: a, b, c"):
        build_graph(ModelFlags("NetVLADModelLF", three, 4))


def test_one_feature_is_enough():
    one = FeatureSpec(("rgb",), (4,), frame_level=True)
    small = {"netvlad_cluster_size": 2, "netvlad_hidden_size": 2}
    names = build_graph(ModelFlags("NetVLADModelLF", one, 4, options=small)).variables
    assert not any("audio" in name for name in names)


def test_slots_and_counters_are_no_model_variables():
    flags = small_flags("MoeModel")
    specs = specs_of(random_weights(flags))
    for name in list(specs):
        for slot in ("Adam", "Adam_1", "ExponentialMovingAverage"):
            specs[f"{name}/{slot}"] = TensorSpec(f"{name}/{slot}", specs[name].shape, "float32")
    specs["beta1_power"] = TensorSpec("beta1_power", (), "float32")
    specs["global_step"] = TensorSpec("global_step", (), "int32")
    assert recognize(specs, raw_flags(flags)).model == "MoeModel"


def test_a_wrong_model_name_is_corrected():
    flags = small_flags("NetVLADModelLF", gating=True)
    raw = {**raw_flags(flags), "model": "LogisticModel"}
    assert recognize(specs_of(random_weights(flags)), raw).model == "NetVLADModelLF"


def test_two_architectures_of_the_same_variables_are_asked_about():
    flags = small_flags("DbofModelLF")
    specs, raw = specs_of(random_weights(flags)), {**raw_flags(flags), "model": "LogisticModel"}
    with pytest.raises(ModelError, match="as with `yt8m-ens merge --architecture`") as caught:
        recognize(specs, raw)
    assert caught.value.candidates == ("DbofModelLF", "SoftDbofModelLF")
    assert recognize(specs, raw, architecture="DbofModelLF").model == "DbofModelLF"


def test_an_architecture_that_does_not_fit_is_refused():
    flags = small_flags("MoeModel")
    with pytest.raises(ModelError, match="are not those of LogisticModel on 8 features") as caught:
        recognize(specs_of(random_weights(flags)), raw_flags(flags), architecture="LogisticModel")
    assert caught.value.architecture == "LogisticModel"


def test_class_counts_must_agree():
    flags = small_flags("MoeModel")
    with pytest.raises(ModelError, match="says 7 classes, but the variables of MoeModel have 4"):
        recognize(specs_of(random_weights(flags)), {**raw_flags(flags), "num_classes": 7})


def test_a_value_in_the_flags_that_no_option_takes_is_named():
    flags = small_flags("MoeModel")
    with pytest.raises(
        ModelError, match=r"Option 'moe_l2' of MoeModel: expected a number of at least 0, got .much"
    ):
        recognize(specs_of(random_weights(flags)), {**raw_flags(flags), "moe_l2": "much"})


def test_features_of_other_sizes_fit_no_architecture():
    flags = small_flags("NetVLADModelLF")
    for names, sizes in (("rgb,audio", "5,3"), ("a,b,c", "3,3,2"), ("rgb", "8")):
        raw = {**raw_flags(flags), "feature_names": names, "feature_sizes": sizes}
        with pytest.raises(ModelError, match="of no known frame-level model on 8 features"):
            recognize(specs_of(random_weights(flags)), raw)


def test_flags_may_be_made_without_options():
    assert len(build_graph(ModelFlags("LogisticModel", VIDEO, 3)).variables) == 2
