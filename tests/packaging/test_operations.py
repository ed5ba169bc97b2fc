import pytest

from yt8m_ensemble.packaging import check_operations, load_operation_table

pytestmark = pytest.mark.tf

TITLE = "of TensorFlow 1.14.0"


def failed(meta, **options):
    checks = check_operations(meta, **options)
    assert [check.name for check in checks] == [
        f"graph version {TITLE}",
        f"operations {TITLE}",
        f"attributes {TITLE}",
    ]
    return {c.name.removesuffix(f" {TITLE}"): c.detail for c in checks if not c.is_ok}


def node_of(meta, op):
    return next(node for node in meta.graph_def.node if node.op == op)


def test_the_table_says_what_it_is():
    table = load_operation_table()
    assert table.tensorflow == "1.14.0"
    assert "make_operation_table.py" in table.made
    assert table.operations["MatMul"]["transpose_a"] == "bool?"
    assert "Einsum" not in table.operations


def test_a_merged_model_holds_only_what_is_known(sound):
    assert failed(sound.meta) == {}


def test_an_unknown_operation_is_named_with_its_member(sound):
    sound.meta.graph_def.node.add(name="b/x/Einsum", op="Einsum")
    faults = failed(sound.meta, member_of=lambda name: name[0])
    assert faults == {"operations": "Einsum 'b/x/Einsum' (b)"}


def test_an_unknown_operation_inside_a_function_is_named_with_it(sound):
    function = sound.meta.graph_def.library.function.add()
    function.signature.name = "loop_body"
    function.node_def.add(name="d", op="MatrixDiagV3")
    sound.meta.graph_def.node.add(name="call", op="loop_body")  # calls are operations of their own
    assert failed(sound.meta) == {"operations": "MatrixDiagV3 'd' (function loop_body)"}


def test_an_unknown_attribute_passes_only_at_its_listed_default(sound):
    node = node_of(sound.meta, "MatMul")
    node.attr["grad_a"].b = False
    assert failed(sound.meta) == {}
    node.attr["grad_a"].b = True
    assert failed(sound.meta) == {"attributes": f"unknown 'grad_a' of MatMul '{node.name}'"}
    node.attr["grad_a"].b = False
    sound.meta.meta_info_def.stripped_op_list.Clear()
    assert failed(sound.meta) == {"attributes": f"unknown 'grad_a' of MatMul '{node.name}'"}


def test_private_attributes_are_left_alone(sound):
    node_of(sound.meta, "MatMul").attr["_class"].s = b"x"
    assert failed(sound.meta) == {}


def test_a_missing_or_forbidden_attribute_is_named(sound):
    node = node_of(sound.meta, "MatMul")
    del node.attr["T"]
    assert failed(sound.meta) == {"attributes": f"missing 'T' of MatMul '{node.name}'"}
    node.attr["T"].type = 7  # strings
    assert failed(sound.meta) == {"attributes": f"'T' = dtype 7 of MatMul '{node.name}'"}
    node.attr["T"].type = 101  # a reference to float32
    assert failed(sound.meta) == {}


def test_a_forbidden_text_is_named(sound):
    node = sound.meta.graph_def.node.add(name="n", op="BiasAdd")
    node.attr["T"].type = 1
    node.attr["data_format"].s = b"NCL"
    assert failed(sound.meta) == {"attributes": "'data_format' = 'NCL' of BiasAdd 'n'"}


def test_a_newer_graph_version_is_told(sound):
    sound.meta.graph_def.versions.min_consumer = 900
    assert failed(sound.meta) == {"graph version": "needs 900, it reads 38"}
