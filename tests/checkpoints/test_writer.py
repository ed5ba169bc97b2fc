"""The writer: whole or not at all."""

import numpy as np
import pytest

from yt8m_ensemble.checkpoints import CheckpointWriter, open_checkpoint, write_checkpoint
from yt8m_ensemble.errors import CheckpointError, OutputExistsError
from yt8m_ensemble.values import TensorSpec

SPEC = TensorSpec("w", (5,), "float32")


def test_blocks_make_the_same_bytes_as_a_whole(tmp_path):
    values = np.arange(5, dtype=np.float32)
    write_checkpoint(str(tmp_path / "whole"), {"w": values})
    with CheckpointWriter(str(tmp_path / "blocks")) as writer:
        writer.add_blocks(SPEC, [values[:2], values[2:2], values[2:]])
    for ending in (".index", ".data-00000-of-00001"):
        whole, blocks = (tmp_path / f"{name}{ending}" for name in ("whole", "blocks"))
        assert whole.read_bytes() == blocks.read_bytes()


def test_makes_directories_and_leaves_two_files(tmp_path):
    write_checkpoint(str(tmp_path / "a" / "b" / "c"), {"w": np.ones(3)})
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == [
        "c.data-00000-of-00001",
        "c.index",
    ]


def test_takes_str_and_non_contiguous_arrays(tmp_path):
    turned = np.arange(6, dtype=np.int32).reshape(2, 3).T
    write_checkpoint(str(tmp_path / "c"), {"s": np.array(["é", "b"]), "w": turned})
    with open_checkpoint(str(tmp_path / "c")) as source:
        assert source.read("s").tolist() == ["é".encode(), b"b"]
        assert np.array_equal(source.read("w"), turned)


def write_two(prefix, first, second):
    with CheckpointWriter(prefix, force=True) as writer:
        writer.add(first, np.zeros(9))
        writer.add(second, np.zeros(9))


def test_an_error_leaves_nothing_new_and_the_old_as_it_was(tmp_path):
    write_checkpoint(str(tmp_path / "c"), {"w": np.ones(3)})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CheckpointError):
        write_two(str(tmp_path / "c"), "w", "w")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_refuses_to_overwrite_without_force(tmp_path):
    prefix = str(tmp_path / "c")
    write_checkpoint(prefix, {"w": np.ones(3)})
    with pytest.raises(OutputExistsError, match="exists already"):
        write_checkpoint(prefix, {"w": np.zeros(3)})
    write_checkpoint(prefix, {"w": np.zeros(3)}, force=True)
    assert open_checkpoint(prefix).read("w").tolist() == [0, 0, 0]


def test_refuses_an_output_that_appeared_meanwhile(tmp_path):
    prefix = str(tmp_path / "c")
    writer = CheckpointWriter(prefix)
    writer.__enter__()
    write_checkpoint(prefix, {"w": np.ones(3)})
    with pytest.raises(OutputExistsError):
        writer.__exit__(None, None, None)
    assert open_checkpoint(prefix).read("w").tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("spec", "blocks", "words"),
    [
        (SPEC, [np.ones(4, np.float32)], "needs 20 bytes, its blocks hold 16"),
        (SPEC, [np.ones(5)], "is float32, but a block of it is float64"),
        (TensorSpec("", (1,), "float32"), [], "is empty or was written before"),
        (TensorSpec("a", (1,), "float32"), [], "is empty or was written before"),
        (TensorSpec("v", (1,), "variant"), [], "variant have no numpy form"),
    ],
)
def test_refuses_what_does_not_fit(tmp_path, spec, blocks, words):
    def write():
        with CheckpointWriter(str(tmp_path / "c")) as writer:
            writer.add("a", np.ones(1))
            writer.add_blocks(spec, blocks)

    with pytest.raises(CheckpointError, match=words):
        write()
    assert not list(tmp_path.iterdir())


def test_refuses_a_dtype_that_tensorflow_lacks(tmp_path):
    with pytest.raises(CheckpointError, match="datetime64") as error:
        write_checkpoint(str(tmp_path / "c"), {"t": np.zeros(1, "datetime64[s]")})
    assert error.value.dtype == "datetime64[s]"


def test_writes_only_inside_its_context(tmp_path):
    with pytest.raises(CheckpointError, match="outside its `with` block"):
        CheckpointWriter(str(tmp_path / "c")).add("w", np.ones(1))


def test_never_touches_the_state_file(tmp_path):
    state = tmp_path / "checkpoint"
    state.write_text('model_checkpoint_path: "model.ckpt-1"\n')
    write_checkpoint(str(tmp_path / "model.ckpt-2"), {"w": np.ones(1)})
    assert state.read_text() == 'model_checkpoint_path: "model.ckpt-1"\n'


def test_a_graph_that_nobody_asked_to_replace_stays(tmp_path):
    prefix, graph = str(tmp_path / "model"), tmp_path / "model.meta"
    graph.write_bytes(b"a graph")
    write_checkpoint(prefix, {"w": np.ones(2, np.float32)})
    assert graph.read_bytes() == b"a graph"
    write_checkpoint(prefix, {"w": np.zeros(2, np.float32)}, force=True)
    assert graph.read_bytes() == b"a graph"


def test_data_that_lost_its_index_is_not_overwritten(tmp_path):
    prefix, data = str(tmp_path / "model"), tmp_path / "model.data-00000-of-00001"
    data.write_bytes(b"weeks of training")
    with pytest.raises(OutputExistsError, match="data-00000-of-00001"):
        write_checkpoint(prefix, {"w": np.ones(2, np.float32)})
    assert [entry.name for entry in tmp_path.iterdir()] == [data.name]
    assert data.read_bytes() == b"weeks of training"
    write_checkpoint(prefix, {"w": np.ones(2, np.float32)}, force=True)
    assert (tmp_path / "model.index").exists()
