from dataclasses import replace

import pytest

from yt8m_ensemble.packaging import check_archive, check_model
from yt8m_ensemble.values import Bundle, BundleMember

pytestmark = pytest.mark.tf


def outcome(model):
    return check_model(model.meta, flags=model.flags, specs=model.specs)


def failed(model):
    return {check.name: check.detail for check in outcome(model) if not check.is_ok}


def add_node(model, name, op, **fields):
    return model.meta.graph_def.node.add(name=name, op=op, **fields)


def node_of(model, name):
    return next(node for node in model.meta.graph_def.node if node.name == name)


def without_restore_of(model, variable):
    for node in model.meta.graph_def.node:
        if node.op == "Assign" and node.input[0] == variable:
            node.op = "NoOp"


BREAKS = {
    "model_flags.json": (
        lambda m: m.flags.pop("feature_sizes"),
        "feature_sizes",
    ),
    "collection input_batch_raw": (
        lambda m: m.meta.collection_def["input_batch_raw"].Clear(),
        "absent",
    ),
    "collection num_frames": (
        lambda m: m.meta.collection_def["num_frames"].node_list.value.insert(0, "gone:0"),
        "'gone:0' is not in the graph",
    ),
    "collection predictions": (
        lambda m: m.meta.collection_def["predictions"].Clear(),
        "absent",
    ),
    "input takes the features": (
        lambda m: m.flags.update(feature_sizes="6,3"),
        "?x8, features are ?x9",
    ),
    "no queue runners": (
        lambda m: m.meta.collection_def["queue_runners"].bytes_list.value.append(b"abc"),
        "one of 3 bytes",
    ),
    "no readers or queues": (
        lambda m: add_node(m, "q", "FIFOQueueV2"),
        "FIFOQueueV2 'q'",
    ),
    "no Python functions": (lambda m: add_node(m, "f", "PyFunc"), "PyFunc 'f'"),
    "touches no files": (lambda m: add_node(m, "w", "WriteFile"), "WriteFile 'w'"),
    "no device strings": (
        lambda m: add_node(m, "d", "NoOp", device="/gpu:0"),
        "'d' on /gpu:0",
    ),
    "no names of the reader's own": (
        lambda m: add_node(m, "input/batch_join", "NoOp"),
        "'input/batch_join'",
    ),
    "saver": (
        lambda m: m.meta.saver_def.Clear(),
        "no saver_def, 0 in the collection 'variables'",
    ),
    "predictions need only what is fed": (
        lambda m: node_of(m, "predictions").input.append(
            "^" + add_node(m, "p", "Placeholder").name
        ),
        "Placeholder 'p'",
    ),
    "predictions hang on no default": (
        lambda m: node_of(m, "predictions").input.append(
            "^" + add_node(m, "d", "PlaceholderWithDefault").name
        ),
        "PlaceholderWithDefault 'd'",
    ),
    "checkpoint holds what is restored": (
        lambda m: m.specs.pop("mixture_weights"),
        "'mixture_weights' is absent",
    ),
    "every variable is restored": (
        lambda m: without_restore_of(m, "mixture_weights"),
        "'mixture_weights'",
    ),
}


def test_a_merged_model_passes_every_check(sound):
    assert failed(sound) == {}
    assert {check.name for check in outcome(sound)} == BREAKS.keys()


@pytest.mark.parametrize("name", BREAKS)
def test_each_point_of_the_contract_fails_alone(sound, name):
    damage, detail = BREAKS[name]
    damage(sound)
    faults = failed(sound)
    assert detail in faults.pop(name)
    # What no collection names is not fed either; nothing else may fall with another point.
    unnamed = name == "collection input_batch_raw"
    assert list(faults) == (["predictions need only what is fed"] if unnamed else [])


def test_a_python_function_hidden_in_the_library_is_found(sound):
    function = sound.meta.graph_def.library.function.add()
    function.node_def.add(name="inner", op="EagerPyFunc")
    assert failed(sound) == {"no Python functions": "EagerPyFunc 'inner'"}


def test_a_checkpoint_of_another_dtype_is_found(sound):
    name = "a/tower/fully_connected/weights"
    sound.specs[name] = replace(sound.specs[name], dtype="float16")
    assert failed(sound) == {"checkpoint holds what is restored": f"'{name}' is float16"}


def test_a_saver_that_names_a_missing_operation_is_found(sound):
    sound.meta.saver_def.restore_op_name = "save/gone"
    assert failed(sound) == {"saver": "names 'save/gone', not in the graph"}
    sound.meta.saver_def.Clear()
    sound.meta.collection_def["variables"].bytes_list.value.append(b"v")
    assert failed(sound) == {}


def test_many_faults_are_counted(sound):
    for position in range(5):
        add_node(sound, f"f{position}", "PyFunc")
    assert failed(sound)["no Python functions"] == "PyFunc 'f0'; PyFunc 'f1'; PyFunc 'f2'; 2 more"


def test_an_archive_is_held_to_both_readers_and_the_size():
    bundle = Bundle("x.tgz", (BundleMember("a", 900, ""), BundleMember("b", 200, "")), ("2018",))
    checks = {check.name: check for check in check_archive(bundle, max_size=1000)}
    assert [check.is_ok for check in checks.values()] == [True, False, False]
    assert checks["uncompressed size"].detail == "1.10 kB of 1.00 kB allowed"
