"""Our reader and writer against TensorFlow's own, on its files and ours."""

import ml_dtypes
import numpy as np
import pytest

from yt8m_ensemble.checkpoints import open_checkpoint, write_checkpoint

pytestmark = pytest.mark.tf
tf = pytest.importorskip("tensorflow")

FILES = (".index", ".data-00000-of-00001")


@pytest.fixture
def arrays():
    generator = np.random.default_rng(0)
    return {
        "a/strings": np.array([[b"", b"yy"], [b"\0\xff", b"z" * 300]], object),
        "bfloat16": generator.normal(size=(3, 5)).astype(ml_dtypes.bfloat16),
        "bool": np.array([True, False, True]),
        "complex": np.array([1 + 2j], np.complex64),
        "empty": np.zeros((0, 5), np.float64),
        "float16": generator.normal(size=7).astype(np.float16),
        "float32": generator.normal(size=(33, 17)).astype(np.float32),
        "global_step": np.array(7000, np.int64),
        "int8": np.arange(-4, 4, dtype=np.int8),
        "uint16": np.arange(9, dtype=np.uint16),
        "é": np.array(0.5, np.float32),
    }


def save(prefix, arrays, names=None, slices=None):
    """Write with TensorFlow's own operation."""
    names = names or sorted(arrays)
    values = [arrays[name] for name in names]
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=slices or [""] * len(names),
        tensors=[tf.constant(v.tolist() if v.dtype == object else v) for v in values],
    )


def contents(prefix):
    return [prefix.with_name(prefix.name + ending).read_bytes() for ending in FILES]


def test_writes_the_bytes_that_tensorflow_writes(tmp_path, arrays):
    write_checkpoint(str(tmp_path / "ours"), arrays)
    save(tmp_path / "theirs", arrays)
    assert contents(tmp_path / "ours") == contents(tmp_path / "theirs")


def test_writes_an_index_of_several_blocks_as_tensorflow_does(tmp_path):
    arrays = {
        f"{'scope/' * (i % 9)}variable_{i * 7919 % 12000}_{i}/{chr(97 + i % 26) * 20}": np.zeros(
            (i % 3, 2), np.float32
        )
        for i in range(12000)
    }
    write_checkpoint(str(tmp_path / "ours"), arrays)
    save(tmp_path / "theirs", arrays)
    ours, theirs = contents(tmp_path / "ours"), contents(tmp_path / "theirs")
    assert len(ours[0]) > 2 * 262_144
    assert ours == theirs
    assert list(open_checkpoint(str(tmp_path / "theirs")).specs()) == sorted(arrays)


def test_tensorflow_restores_what_we_write(tmp_path, arrays):
    write_checkpoint(str(tmp_path / "ours"), arrays)
    reader = tf.train.load_checkpoint(str(tmp_path / "ours"))
    assert set(reader.get_variable_to_shape_map()) == set(arrays)
    for name, array in arrays.items():
        assert np.array_equal(reader.get_tensor(name), array), name


def test_reads_every_fixture_as_tensorflow_does(fixtures):
    prefixes = sorted(str(path.with_suffix("")) for path in fixtures.glob("*/*/*.index"))
    assert len(prefixes) > 20
    for prefix in prefixes:
        reader = tf.train.load_checkpoint(prefix)
        with open_checkpoint(prefix) as ours:
            assert set(ours.specs()) == set(reader.get_variable_to_shape_map())
            for name, spec in ours.specs().items():
                theirs, array = np.asarray(reader.get_tensor(name)), ours.read(name)
                assert array.shape == theirs.shape == spec.shape
                assert array.dtype == theirs.dtype == np.dtype(spec.dtype)
                assert array.tobytes() == theirs.tobytes()


def test_reads_partitioned_variables(tmp_path):
    whole = np.arange(24, dtype=np.float32).reshape(6, 4)
    rows = {"v": whole[:2], "w": whole[2:]}
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "p"),
        tensor_names=["rows", "rows", "columns", "columns", "whole"],
        shape_and_slices=["6 4 0,2:-", "6 4 2,4:0,4", "6 4 -:0,1", "6 4 -:1,3", ""],
        tensors=[rows["v"], rows["w"], whole[:, :1], whole[:, 1:], whole],
    )
    with open_checkpoint(str(tmp_path / "p")) as source:
        assert list(source.specs()) == ["columns", "rows", "whole"]
        for name in source.specs():
            assert np.array_equal(source.read(name), whole)
            block = np.empty(11, np.float32)
            source.read_block(name, 5, block)
            assert np.array_equal(block, whole.reshape(-1)[5:16])


def test_reads_several_data_files(tmp_path):
    parts = [{"a": np.arange(3.0), "z": np.array([b"x"], object)}, {"m": np.ones((2, 2))}]
    for number, arrays in enumerate(parts):
        save(tmp_path / f"part{number}", arrays)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(tmp_path / "part0"), str(tmp_path / "part1")],
        destination_prefix=str(tmp_path / "whole"),
    )
    with open_checkpoint(str(tmp_path / "whole")) as source:
        assert len(source.paths) == 3
        for name, array in {**parts[0], **parts[1]}.items():
            assert np.array_equal(source.read(name), array)


def test_reads_object_based_checkpoints(tmp_path):
    model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(3)])
    optimizer = tf.keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    step = tf.Variable(41, dtype=tf.int64)
    saved = tf.train.Checkpoint(model=model, optimizer=optimizer, global_step=step)
    prefix = saved.save(str(tmp_path / "ckpt"))
    reader = tf.train.load_checkpoint(prefix)
    with open_checkpoint(prefix) as source:
        assert source.global_step == 41
        assert set(source.specs()) == set(reader.get_variable_to_shape_map())
        for name in source.specs():
            assert np.array_equal(source.read(name), reader.get_tensor(name)), name


def test_variant_tensors_come_as_stored(tmp_path):
    shape = tf.constant([], tf.int32)
    handle = tf.raw_ops.TensorListFromTensor(tensor=[1.0, 2.0], element_shape=shape)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "v"), tensor_names=["list"], shape_and_slices=[""], tensors=[handle]
    )
    with open_checkpoint(str(tmp_path / "v")) as source:
        assert source.specs()["list"].dtype == "variant"
        stored = source.read("list")
    assert stored.tobytes() == (tmp_path / "v.data-00000-of-00001").read_bytes()


def test_a_scope_may_be_called_like_a_slice_key_prefix(tmp_path):
    arrays = {"\x01odd": np.ones(2, np.float32)}
    write_checkpoint(str(tmp_path / "ours"), arrays)
    save(tmp_path / "theirs", arrays)
    assert contents(tmp_path / "ours") == contents(tmp_path / "theirs")
