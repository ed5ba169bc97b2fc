"""No operation that may not run passes the check, wherever it hides."""

from contextlib import suppress

import pytest

from tests.graphs.hiding_places import OTHER_PLACES, PLACES, RUN_PLACES, node_of, sound_meta
from yt8m_ensemble.errors import GraphError, UsageError
from yt8m_ensemble.graphs import Root, check_graph, reader_roots
from yt8m_ensemble.graphs.operation_check import check_import
from yt8m_ensemble.operation_policy import load_operation_policy

pytestmark = pytest.mark.tf

REFUSED = sorted(name for name, f in load_operation_policy().items() if f.verdict == "refused")


def check(meta, **options):
    return check_graph(meta, roots=reader_roots(meta, path="m"), path="m", **options)


def test_a_sound_graph_passes_and_holds_nothing_else():
    report = check(sound_meta())
    assert (report.random, report.unfed, report.defaults, report.unreached) == ((), (), (), ())


@pytest.mark.parametrize("place", PLACES)
def test_every_refused_operation_is_found_in_each_place(place):
    assert len(REFUSED) > 1300
    missed = []
    for operation in REFUSED:
        meta = sound_meta()
        PLACES[place](meta, operation)
        with suppress(GraphError):
            check(meta)
            missed.append(operation)
    assert missed == []


@pytest.mark.parametrize("operation", ["SaveV2", "MergeV2Checkpoints", "RestoreV2", "Nope"])
@pytest.mark.parametrize("place", PLACES)
def test_what_reads_and_writes_checkpoints_is_bound_to_its_place_and_name(place, operation):
    meta = sound_meta()
    PLACES[place](meta, operation)
    # As an attacker would: with a name of its own, not the one that the caller feeds.
    meta.graph_def.node.add(name="name", op="Const")
    nodes = [
        *meta.graph_def.node,
        *(n for f in meta.graph_def.library.function for n in f.node_def),
    ]
    next(node for node in nodes if node.op == operation and node.name in {"evil", "x"}).input[:] = [
        "name",
        "save/Const",
    ]
    with pytest.raises(GraphError, match=f"'m' is refused: {operation} '"):
        check(meta)


def test_the_error_names_node_operation_function_and_way():
    meta = sound_meta()
    PLACES["a nested function"](meta, "WriteFile")
    with pytest.raises(GraphError) as caught:
        check(meta)
    assert str(caught.value) == (
        "'m' is refused: WriteFile 'evil' in function 'inner' is reached from the predictions and "
        "reads, writes, moves or lists files. Allow it, as with `yt8m-ens predict "
        "--allow-operation WriteFile`, only if you trust whoever made the file."
    )
    assert caught.value.details["function"] == "inner"
    assert caught.value.details["role"] == "predictions"


def test_an_allowed_operation_runs_and_others_do_not():
    meta = sound_meta()
    PLACES["a loop's body"](meta, "PrintV2")
    check(meta, allow=["PrintV2"])
    with pytest.raises(GraphError, match="PrintV2 'evil'"):
        check(meta, allow=["Print"])
    with pytest.raises(UsageError, match="no operation 'Prnt'"):
        check(meta, allow=["Prnt"])


def test_what_nothing_reaches_stays_and_is_named():
    meta = sound_meta()
    meta.graph_def.node.add(name="queue", op="FIFOQueueV2")
    meta.graph_def.library.function.add().node_def.add(name="f", op="ReadFile")
    meta.graph_def.library.function[0].signature.name = "unused"
    report = check(meta)
    assert report.unreached == ("FIFOQueueV2 'queue'", "ReadFile 'f' in function 'unused'")


def test_another_implementation_counts_only_where_tensorflow_may_choose_it():
    meta = sound_meta()
    PLACES["another implementation of a function"](meta, "CudnnRNNV3")
    with pytest.raises(GraphError, match="CudnnRNNV3 'evil' in function 'hidden'"):
        check(meta)
    report = check(meta, is_lowered=True)
    assert report.unreached == ("CudnnRNNV3 'evil' in function 'hidden'",)


def test_what_an_import_may_evaluate_is_refused_though_nothing_reaches_it():
    evaluated = []
    for operation in (*REFUSED, "MatMul"):
        meta = sound_meta()
        meta.graph_def.library.function.add().node_def.add(name="f", op=operation)
        try:
            check_import(meta, path="m")
        except GraphError:
            evaluated.append(operation)
            check_import(meta, path="m", allow=[operation])
    assert {"ReadFile", "MatchingFiles", "DebugIdentity", "PyFuncStateless", "Copy"} <= {*evaluated}
    # A stateful operation is never evaluated, and a summary or a queue touches nothing.
    assert not {"WriteFile", "PrintV2", "FIFOQueueV2", "QueueSize", "MergeSummary", "MatMul"} & {
        *evaluated
    }


def test_a_function_that_bears_an_operations_name_is_refused():
    meta = sound_meta()
    meta.graph_def.library.function.add().signature.name = "MatMul"
    with pytest.raises(GraphError, match="'MatMul' bears the name of an operation"):
        check(meta)


def test_a_function_that_is_not_there_is_told():
    meta = sound_meta()
    node_of(meta, "read").op = "PartitionedCall"
    node_of(meta, "read").attr["f"].func.name = "gone"
    with pytest.raises(GraphError, match="calls the function 'gone', which is not in the graph"):
        check(meta)


def test_draws_defaults_and_unfed_placeholders_are_told():
    meta = sound_meta()
    for name, op in (("u", "RandomUniform"), ("p", "Placeholder"), ("d", "PlaceholderWithDefault")):
        meta.graph_def.node.add(name=name, op=op)
        node_of(meta, "predictions").input.append(f"^{name}")
    meta.graph_def.node.add(name="init", op="RandomUniform")
    node_of(meta, "local/Assign").input.append("^init")
    report = check(meta)
    assert (report.random, report.unfed, report.defaults) == (("u",), ("p",), ("d",))


@pytest.mark.parametrize("operation", ["ReadFile", "ParseTensor"])
def test_what_an_import_would_evaluate_is_checked_behind_the_inputs(operation):
    meta = sound_meta()
    node_of(meta, "x").op = "Reshape"
    node_of(meta, "x").input.append("shape")
    meta.graph_def.node.add(name="shape", op=operation)
    roots = [Root("predictions", ("predictions:0",), frozenset({"x:0"})), Root("inputs", ("x:0",))]
    check_graph(meta, roots=roots[:1], path="m")
    with pytest.raises(GraphError, match=f"{operation} 'shape' is reached from the inputs"):
        check_graph(meta, roots=roots, path="m")
    # A queue or reader is never evaluated by an import.
    node_of(meta, "shape").op = "QueueDequeueV2"
    assert check_graph(meta, roots=roots, path="m").unreached == ("QueueDequeueV2 'shape'",)


def test_a_sharded_saver_may_name_its_parts_after_the_file_that_is_fed():
    meta = sound_meta()
    for name, op, inputs in (
        ("part", "StringJoin", ("save/Const", "save/names")),
        ("shard", "ShardedFilename", ("part", "zero", "zero")),
        ("shards", "Pack", ("shard", "shard")),
        ("merge", "MergeV2Checkpoints", ("shards", "save/Const")),
    ):
        meta.graph_def.node.add(name=name, op=op, input=inputs)
    node_of(meta, "save/SaveV2").input[0] = "shard"
    node_of(meta, "save/control").input.append("^merge")
    check(meta)
    node_of(meta, "part").input[0] = "save/names"
    with pytest.raises(GraphError, match="opens files under a name that the graph holds"):
        check(meta)


def test_a_collection_that_is_damaged_is_told():
    meta = sound_meta()
    meta.collection_def["queue_runners"].bytes_list.value.append(b"abc")
    with pytest.raises(GraphError, match="no QueueRunnerDef in 'queue_runners'"):
        check(meta)


def test_places_are_told_apart():
    assert not RUN_PLACES.keys() & OTHER_PLACES.keys()
