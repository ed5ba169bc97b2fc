"""`avg-ckpt`: against the original's averages, and each fault of the original put right."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from yt8m_ensemble.checkpoints import open_checkpoint, write_checkpoint, write_state_file
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    ModelError,
    OutputExistsError,
    TensorMismatchError,
    UsageError,
)
from yt8m_ensemble.loading.checkpoints import index_digest
from yt8m_ensemble.steps.avg_ckpt import average_checkpoints, plan_average_checkpoints

STEPS = (5, 60, 110, 1000)


@pytest.fixture
def train_dir(tmp_path):
    """A run of four checkpoints whose state file lists one, as the starter code leaves it."""
    directory = tmp_path / "run"
    generator = np.random.default_rng(0)
    start = generator.normal(size=(30, 20)).astype(np.float32)
    for position, step in enumerate(STEPS):
        write_checkpoint(
            f"{directory}/model.ckpt-{step}",
            {
                "beta1_power": np.array(0.9**step, np.float32),
                "global_step": np.array(step, np.int64),
                "tower/w": start + np.float32(0.01 * position),
                "tower/w/Adam": generator.normal(size=(30, 20)).astype(np.float32),
                "zz_names": np.array([b"a", b"b"], object),
            },
        )
        (directory / f"model.ckpt-{step}.meta").write_bytes(b"graph of %d" % step)
    write_state_file(str(directory), [f"{directory}/model.ckpt-1000"])
    (directory / "model_flags.json").write_text('{"model": "M", "feature_names": "rgb"}')
    return str(directory)


@pytest.fixture
def out(tmp_path):
    return str(tmp_path / "avg" / "model")


def change(prefix, **arrays):
    """Rewrite a checkpoint with some tensors changed; `None` removes one."""
    with open_checkpoint(prefix) as source:
        old = {name: source.read(name).copy() for name in source.specs()}
    named = {name.replace("__", "/"): array for name, array in arrays.items()}
    new = {name: array for name, array in {**old, **named}.items() if array is not None}
    write_checkpoint(prefix, new, force=True)


def listing(directory):
    return {p.name: p.read_bytes() for p in Path(directory).iterdir()}


@pytest.mark.parametrize("member", ["c2h8", "c4h6", "c2h12"])
def test_equals_the_originals_average_where_that_is_right(fixtures, member, tmp_path):
    folder = fixtures / "tiny" / member
    out = str(tmp_path / "avg")
    result = average_checkpoints(prefix=f"{folder}/model.ckpt", step_range=(60, 210), out=out)
    assert (result.num_tensors, result.global_step, len(result.dropped)) == (33, 210, 46)
    with (
        open_checkpoint(out) as ours,
        open_checkpoint(f"{folder}/avg_{member}_60_210.ckpt-0") as theirs,
    ):
        weights = [name for name in ours.specs() if name != "global_step"]
        assert len(weights) == 32
        for name in weights:
            assert np.array_equal(ours.read(name), theirs.read(name)), name
        assert ours.global_step == 210  # fault 5: theirs is 0


def test_says_what_it_made(train_dir, out):
    result = average_checkpoints(prefix=train_dir, last=2, out=out)
    assert result.prefix == out
    assert result.inputs == (f"{train_dir}/model.ckpt-110", f"{train_dir}/model.ckpt-1000")
    assert result.weights == (0.5, 0.5)
    assert result.dropped == ("beta1_power", "tower/w/Adam")
    assert (result.num_tensors, result.nbytes) == (3, 30 * 20 * 4 + 8)
    assert result.neighbors[0].cosine > 0.99
    with open_checkpoint(out) as source:
        expected = open_checkpoint(f"{train_dir}/model.ckpt-110").read("tower/w") + 0.005
        assert np.allclose(source.read("tower/w"), expected, atol=1e-6)
        assert source.read("zz_names").tolist() == [b"a", b"b"]


def test_provenance_carries_inputs_and_flags(train_dir, out):
    average_checkpoints(prefix=train_dir, step_range=(60, 110), out=out)
    facts = json.loads(Path(f"{out}.provenance.json").read_text())
    assert facts["command"] == "avg-ckpt"
    assert list(facts["inputs"]) == [f"{train_dir}/model.ckpt-{step}" for step in (60, 110)]
    assert all(len(digest) == 64 for digest in facts["inputs"].values())
    assert facts["model_flags"] == {"model": "M", "feature_names": "rgb"}
    again = average_checkpoints(prefix=(out,), checkpoints=[], out=f"{out}2")
    assert again.inputs == (out,)
    facts = json.loads(Path(f"{out}2.provenance.json").read_text())
    assert facts["model_flags"]["model"] == "M"


def test_prefix_forms_choose_alike(train_dir, out):
    whole = [f"{train_dir}/model.ckpt-{step}" for step in (5, 60, 110)]
    for choice in (
        {"prefix": train_dir, "step_range": (5, 110)},
        {"prefix": f"{train_dir}/model.ckpt", "step_range": (0, 999)},
        {"prefix": train_dir, "checkpoints": [5, "60", 110]},
        {"checkpoints": whole},
        {"prefix": whole},
    ):
        result = plan_average_checkpoints(**choice, out=out)
        assert result.inputs == tuple(whole)
    assert not Path(out).parent.exists()


def test_weights_follow_the_order_given(train_dir, out):
    average_checkpoints(
        prefix=train_dir, checkpoints=[1000, 5], weights="3,1", keep_optimizer=True, out=out
    )
    with open_checkpoint(out) as source:
        first = open_checkpoint(f"{train_dir}/model.ckpt-5").read("tower/w")
        assert np.allclose(source.read("tower/w"), first + 0.75 * 0.03, atol=1e-6)
        assert source.global_step == 1000


# The faults of the original averager, by their number in the list that the tests were written from.


def test_fault_1_an_integer_sorted_last_does_not_truncate_weights(train_dir, out):
    for step in STEPS:
        change(f"{train_dir}/model.ckpt-{step}", zzz=np.array(3, np.int32))
    average_checkpoints(prefix=train_dir, last=4, out=out)
    with open_checkpoint(out) as source:
        assert source.read("tower/w").dtype == np.float32
        assert (source.read("tower/w") % 1 != 0).any()
        assert source.read("zzz").dtype == np.int32


def test_fault_2_last_four_averages_four(train_dir, out):
    assert len(average_checkpoints(prefix=train_dir, last=4, out=out).inputs) == 4


def test_fault_3_a_missing_checkpoint_is_an_error(train_dir, out):
    with pytest.raises(CheckpointNotFoundError, match="No checkpoint at step 7 in") as error:
        average_checkpoints(prefix=train_dir, checkpoints=[5, 7], out=out)
    assert error.value.steps == list(STEPS)
    with pytest.raises(CheckpointNotFoundError, match="Steps found: 5, 60, 110, 1000"):
        average_checkpoints(prefix=train_dir, step_range=(6, 7), out=out)


def test_fault_4_shapes_do_not_broadcast(train_dir, out):
    change(f"{train_dir}/model.ckpt-60", tower__w=np.ones((1, 1), np.float32))
    with pytest.raises(TensorMismatchError, match=r"'tower/w' is \(30, 20\) in") as error:
        average_checkpoints(prefix=train_dir, last=4, out=out)
    assert error.value.count == 1


def test_fault_5_the_step_is_the_newest_inputs(train_dir, out):
    assert average_checkpoints(prefix=train_dir, checkpoints=[110, 5], out=out).global_step == 110
    assert open_checkpoint(out).global_step == 110


def test_fault_6_optimizer_slots_are_dropped_or_kept_on_request(train_dir, out):
    average_checkpoints(prefix=train_dir, last=2, out=out)
    assert "tower/w/Adam" not in open_checkpoint(out).specs()
    assert not Path(f"{out}.meta").exists()
    average_checkpoints(prefix=train_dir, last=2, keep_optimizer=True, out=out, force=True)
    assert "tower/w/Adam" in open_checkpoint(out).specs()
    assert Path(f"{out}.meta").read_bytes() == b"graph of 1000"


def test_fault_7_the_train_directory_is_left_as_it_was(train_dir):
    before = listing(train_dir)
    average_checkpoints(prefix=train_dir, last=3, out=f"{train_dir}/avg")
    after = listing(train_dir)
    assert set(after) - set(before) == {
        "avg.index", "avg.data-00000-of-00001", "avg.provenance.json",
    }  # fmt: skip
    assert {name: after[name] for name in before} == before


def test_the_same_checkpoint_twice(train_dir, out):
    prefix = f"{train_dir}/model.ckpt-5"
    with pytest.raises(CheckpointError, match="is given twice") as error:
        average_checkpoints(checkpoints=[prefix, f"{train_dir}/./model.ckpt-5"], out=out)
    assert error.value.prefix == f"{train_dir}/./model.ckpt-5"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"last": 2, "step_range": (5, 60)},
        {"checkpoints": [5], "last": 1},
    ],
)
def test_one_way_to_choose_is_needed(train_dir, out, options):
    with pytest.raises(UsageError, match="Say which checkpoints to average by one of"):
        average_checkpoints(prefix=train_dir, **options, out=out)


def test_a_step_needs_a_directory(out):
    with pytest.raises(UsageError, match="Step 5 is of no train directory") as error:
        average_checkpoints(checkpoints=[5], out=out)
    assert error.value.steps == ["5"]


def test_an_existing_output_is_kept(train_dir, out):
    average_checkpoints(prefix=train_dir, last=1, out=out)
    before = listing(Path(out).parent)
    with pytest.raises(OutputExistsError, match="Pass `--force`"):
        average_checkpoints(prefix=train_dir, last=2, out=out)
    assert listing(Path(out).parent) == before
    average_checkpoints(prefix=train_dir, last=2, out=out, force=True)


def test_nan_in_an_input(train_dir, out):
    bad = np.ones((30, 20), np.float32)
    bad[3, 4] = np.nan
    change(f"{train_dir}/model.ckpt-60", tower__w=bad)
    with pytest.raises(CheckpointError, match=r"'tower/w' in .*ckpt-60' holds NaN") as error:
        average_checkpoints(prefix=train_dir, last=4, allow_different_runs=True, out=out)
    assert error.value.count == 1
    assert not list(Path(out).parent.iterdir())
    average_checkpoints(
        prefix=train_dir, last=4, allow_different_runs=True, allow_nonfinite=True, out=out
    )
    with open_checkpoint(out) as source:
        assert np.isnan(source.read("tower/w")).sum() == 1


def test_flags_that_are_no_json(train_dir, out):
    path = Path(f"{train_dir}/model_flags.json")
    path.write_text("{")
    with pytest.raises(ModelError, match=r"model_flags\.json' is not JSON") as error:
        average_checkpoints(prefix=train_dir, last=2, out=out)
    assert error.value.path == str(path)
    path.unlink()
    average_checkpoints(prefix=train_dir, last=2, out=out)
    assert json.loads(Path(f"{out}.provenance.json").read_text())["model_flags"] is None


def test_an_output_may_replace_an_input(train_dir):
    out = f"{train_dir}/model.ckpt-1000"
    with open_checkpoint(out) as source:
        newest = source.read("tower/w").copy()
    digest = index_digest(out)
    average_checkpoints(prefix=train_dir, last=2, out=out, force=True)
    with open_checkpoint(out) as source:
        assert np.allclose(source.read("tower/w"), newest - 0.005, atol=1e-6)
    assert not Path(f"{out}.meta").exists()  # it spoke of slots that are no longer there
    facts = json.loads(Path(f"{out}.provenance.json").read_text())
    assert facts["inputs"][out] == digest


def test_an_input_that_changes_during_the_run(train_dir, out):
    data = Path(f"{train_dir}/model.ckpt-60.data-00000-of-00001")

    def disturb(*_, **__):
        with data.open("r+b") as file:
            file.seek(-500, 2)
            file.write(bytes(400))

    # Progress is told when a block is written; only few blocks are read ahead of that.
    big = np.zeros((16, 1 << 18), np.float32)
    for step in (60, 110):
        change(f"{train_dir}/model.ckpt-{step}", tower__v=big, zz_names=None, zzz=np.ones(99))
    with pytest.raises(CheckpointError, match=r"'zzz' in .*ckpt-60.* is damaged"):
        average_checkpoints(prefix=train_dir, checkpoints=[60, 110], out=out, progress=disturb)
    assert not list(Path(out).parent.iterdir())


@pytest.mark.tf
def test_paths_of_tensorflows_file_layer():
    tf = pytest.importorskip("tensorflow")
    for step in (1, 2):
        values = np.full((4, 3), step, np.float32)
        arrays = {"global_step": np.array(step), "w": values}
        write_checkpoint(f"ram://avg/run/model.ckpt-{step}", arrays)
    result = average_checkpoints(prefix="ram://avg/run", last=2, out="ram://avg/out/model")
    assert result.global_step == 2
    (restored,) = tf.raw_ops.RestoreV2(
        prefix=result.prefix, tensor_names=["w"], shape_and_slices=[""], dtypes=[tf.float32]
    )
    assert restored.numpy().tolist() == [[1.5] * 3] * 4
    assert tf.io.gfile.exists("ram://avg/out/model.provenance.json")
    with pytest.raises(OutputExistsError):
        average_checkpoints(prefix="ram://avg/run", last=2, out="ram://avg/out/model")
    average_checkpoints(prefix="ram://avg/run", last=1, out="ram://avg/out/model", force=True)
    with open_checkpoint("ram://avg/out/model") as source:
        block = np.empty(2, np.float32)
        source.read_block("w", 3, block)
        assert block.tolist() == [2.0, 2.0]


def test_a_flipped_bit_in_an_input_leaves_no_output(train_dir, out):
    data = Path(f"{train_dir}/model.ckpt-60.data-00000-of-00001")
    content = bytearray(data.read_bytes())
    content[300] ^= 1
    data.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"'tower/w' in .*ckpt-60.* is damaged") as error:
        average_checkpoints(prefix=train_dir, last=4, out=out)
    assert error.value.path == str(data)
    assert not list(Path(out).parent.iterdir())


def test_different_runs_are_refused(train_dir, out):
    other = np.random.default_rng(9).normal(size=(30, 20)).astype(np.float32)
    change(f"{train_dir}/model.ckpt-1000", tower__w=other)
    with pytest.raises(CheckpointError, match="does not continue the run of") as error:
        average_checkpoints(prefix=train_dir, last=4, out=out)
    assert error.value.tensor == "tower/w"
    average_checkpoints(prefix=train_dir, last=4, allow_different_runs=True, out=out)


def test_a_full_disk_is_told_before_weights_are_read(train_dir, out, monkeypatch):
    usage = shutil.disk_usage(train_dir)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(CheckpointError, match="its disk has 1,000 free") as error:
        average_checkpoints(prefix=train_dir, last=2, out=out)
    assert error.value.found == 1000
    assert error.value.expected == 2408 + (1 << 20)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"soup": "greedy"}, "`--soup` needs held-out records"),
        ({"search": True}, "`--search` needs held-out records"),
        ({"recalibrate_bn": "x"}, "`--recalibrate-bn` needs held-out records"),
        ({"eval_data": "x"}, "`--eval-data` judges"),
        ({"eval_data": "x", "soup": "greedy", "search": True}, "Give one"),
        ({"eval_data": "x", "search": True, "weights": "linear"}, "Give one"),
    ],
)
def test_options_that_contradict_each_other(train_dir, out, options, words):
    with pytest.raises(UsageError, match=words):
        average_checkpoints(prefix=train_dir, last=2, out=out, **options)


def test_the_command(train_dir, out):
    arguments = ["avg-ckpt", "--prefix", train_dir, "--range", "60,1000", "--out", out]
    shown = CliRunner().invoke(cli, [*arguments, "--dry-run"])
    assert shown.exit_code == 0, shown.output
    assert "Mean of 3 checkpoints: 3 tensors" in shown.output
    assert not Path(out).parent.exists()
    as_json = CliRunner().invoke(cli, [*arguments, "--json", "--weights", "ema:0.5"])
    facts = json.loads(as_json.stdout)
    assert facts["weights"] == [0.25, 0.25, 0.5]
    wrong = CliRunner().invoke(cli, [*arguments[:4], "60-1000", "--out", out])
    assert wrong.exit_code == 2
    assert "two steps" in wrong.output


@pytest.mark.tf
def test_object_based_checkpoints_restore_with_and_without_their_optimizer(tmp_path):
    tf = pytest.importorskip("tensorflow")

    def make():
        model = tf.keras.Sequential([tf.keras.Input((40,)), tf.keras.layers.Dense(30)])
        optimizer = tf.keras.optimizers.Adam()
        optimizer.build(model.trainable_variables)
        step = tf.Variable(1, dtype=tf.int64)
        return tf.train.Checkpoint(model=model, optimizer=optimizer, global_step=step)

    run = make()
    kernel = run.model.layers[0].kernel
    first = kernel.numpy()
    prefixes = []
    for step in (1, 5):
        run.global_step.assign(step)
        run.optimizer.iterations.assign(step)
        kernel.assign(first + 0.01 * step)
        prefixes.append(run.save(str(tmp_path / "ckpt")))
    for keep_optimizer in (False, True):
        out = str(tmp_path / f"avg{keep_optimizer}")
        result = average_checkpoints(checkpoints=prefixes, keep_optimizer=keep_optimizer, out=out)
        assert result.global_step == 5
        assert len(result.dropped) == (0 if keep_optimizer else 6)
        other = make()
        other.restore(out).expect_partial()
        assert np.allclose(other.model.layers[0].kernel.numpy(), first + 0.03, atol=1e-6)
        assert other.global_step.numpy() == 5
        assert other.optimizer.iterations.numpy() == (5 if keep_optimizer else 0)


@pytest.mark.tf
@pytest.mark.slow
def test_soup_search_and_batch_norm_on_a_run_of_the_original(fixtures, tmp_path):
    data = str(fixtures / "data_const/frame/validate*.tfrecord")
    prefix = str(fixtures / "tiny/c2h8")
    run: dict[str, Any] = {"prefix": prefix, "last": 4, "eval_data": data, "batch_size": 64}
    soup = average_checkpoints(**run, soup="greedy", out=str(tmp_path / "soup"))
    best = max(soup.trials, key=lambda trial: trial.score)
    alone = [trial.score for trial in soup.trials if len(trial.inputs) == 1]
    assert len(alone) == 4
    assert best.score > max(alone)
    assert set(soup.inputs) == set(best.inputs)
    searched = average_checkpoints(
        **run, search=True, recalibrate_bn=data, out=str(tmp_path / "searched")
    )
    assert [len(trial.inputs) for trial in searched.trials] == [1, 2, 3, 4]
    assert (tmp_path / "searched.search.png").read_bytes()[1:4] == b"PNG"
    found = searched.recalibration
    assert found is not None
    assert found.kept == (found.after > found.before)
    facts = json.loads((tmp_path / "searched.provenance.json").read_text())
    assert len(facts["trials"]) == 4


PEAK = """
import sys
from pathlib import Path
from yt8m_ensemble.steps.avg_ckpt import average_checkpoints

average_checkpoints(prefix=sys.argv[1], last=3, out=sys.argv[2])
# Not ru_maxrss, which a process inherits from the one that started it.
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_checkpoints(tmp_path):
    peaks_kb = []
    for rows in (100, 15_000):  # 400 kB and 60 MB
        run = tmp_path / f"run{rows}"
        for step in (1, 2, 3):
            arrays = {"w": np.full((rows, 1000), step, np.float32)}
            write_checkpoint(f"{run}/model.ckpt-{step}", arrays)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(run), str(run / "avg")],
            capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        peaks_kb.append(int(done.stdout))
    # 180 MB are read and 60 MB written; what grows are a few blocks of 1 MB.
    assert peaks_kb[1] - peaks_kb[0] < 30_000
    assert peaks_kb[1] < 300_000


@pytest.mark.tf
def test_a_model_without_batch_norm_cannot_be_recalibrated(fixtures, tmp_path):
    flags = {
        "model": "LogisticModel", "feature_names": "mean_rgb,mean_audio",
        "feature_sizes": "1024,128", "frame_features": False, "num_classes": 40,
    }  # fmt: skip
    run = tmp_path / "logistic"
    for step in (1, 2):
        arrays = {
            "global_step": np.array(step),
            "tower/fully_connected/biases": np.zeros(40, np.float32),
            "tower/fully_connected/weights": np.full((1152, 40), step, np.float32),
        }
        write_checkpoint(f"{run}/model.ckpt-{step}", arrays)
    (run / "model_flags.json").write_text(json.dumps(flags))
    data = str(fixtures / "data_const/video/validate*.tfrecord")
    with pytest.raises(UsageError, match="LogisticModel has no batch norm") as error:
        average_checkpoints(
            prefix=str(run), last=2, eval_data=data, recalibrate_bn=data, out=str(tmp_path / "a")
        )
    assert error.value.model == "LogisticModel"
    assert not list(tmp_path.glob("a.*"))
