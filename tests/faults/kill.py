"""Kill commands at their N-th change of the file system; prove that nothing is lost.

    python tests/faults/kill.py [--budget 40] [--commands avg-ckpt,merge,package,…]

Each command replaces an output with `--force`. It is run in a process that kills itself before a
change of the file system: an open for writing, a rename, a removal, a sync, a write of tensors or
of HDF5 rows. Afterwards the old output must be there whole with all that describes it, or the new
one with its own; the same command again must succeed, and leave nothing else behind. Prints one
JSON line for each command.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py

from yt8m_ensemble import files
from yt8m_ensemble.companions import ENDINGS

sys.path.insert(0, str(Path(__file__).parents[2]))  # for `tests.builders`

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


RECIPE = """
out = "{directory}/run"
[ensembles.e]
train_data = "{directory}/r*.tfrecord"
validate_data = "{directory}/r*.tfrecord"
features = "video"
feature_sizes = "6,2"
num_classes = 25
[ensembles.e.train]
batch_size = 10
max_steps = 2
[ensembles.e.members.a]
model = "LogisticModel"
[ensembles.e.members.b]
model = "LogisticModel"
seed = 1
[ensembles.e.tune]
step = 0.5
[ensembles.e.merge]
[ensembles.e.package]
"""


@dataclass(frozen=True)
class Case:
    """A command that replaces an output.

    Attributes:
        old: Arguments that make the old output.
        new: Arguments that replace it.
        read: Returns what is there, comparable; raises if it is no whole output.
    """

    old: list[str]
    new: list[str]
    read: Callable[[], object]


def fork(action):
    """Run an action in a process of its own; return its exit code, negative if it was killed."""
    child = os.fork()
    if not child:
        code = 70
        try:
            action()
            code = 0
        except SystemExit as error:
            code = int(error.code or 0)
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def count_changes(directory, *, kill_at=None, report=None):
    """Count changes below a directory; kill the process before one of them."""
    done = 0

    def change():
        nonlocal done
        if done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        if report:
            report.write_text(str(done))

    def hook(event, arguments):
        is_write = event in _CHANGES or (event == "open" and (arguments[2] or 0) & _WRITES)
        if is_write and isinstance(arguments[0], str | Path):
            path = str(arguments[0])
            if path.startswith(directory) and path != str(report):
                change()

    def wrap(owner, name):
        real = getattr(owner, name)

        def counted(*arguments, **options):
            change()
            return real(*arguments, **options)

        setattr(owner, name, counted)

    from yt8m_ensemble.checkpoints import CheckpointWriter

    sys.addaudithook(hook)
    for owner, names in (
        (os, ("fsync", "posix_fallocate", "ftruncate")),
        (h5py.Dataset, ("resize", "__setitem__")),
        (h5py.File, ("flush", "close")),
        (CheckpointWriter, ("_write",)),
    ):
        for name in names:
            wrap(owner, name)


def run(arguments):
    """Run the command line in this process, quietly."""
    from yt8m_ensemble.cli.root import main

    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    main(arguments)


def contents(*paths):
    """Return the bytes of files; of a directory, of its files."""
    found = {}
    for path in map(Path, paths):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                found[str(file.relative_to(path.parent))] = file.read_bytes()
    return found


def read_output(path):
    """Return every byte of an output and of what describes it, as whoever opens it finds them."""
    files.recover_output(path)
    return contents(path, *(f"{path}{ending}" for ending in ENDINGS))


def read_checkpoint(prefix):
    """Return every file of a checkpoint, once it has been opened and read."""
    from yt8m_ensemble.checkpoints import open_checkpoint

    with open_checkpoint(prefix) as source:
        for name in source.specs():
            source.read(name)
    endings = (".index", ".data-00000-of-00001", ".meta", ".provenance.json")
    return contents(*(f"{prefix}{ending}" for ending in endings))


def read_model(directory):
    """Return every file of an inference model, once its checkpoint has been opened and read."""
    from yt8m_ensemble.loading.paths import find_prefix

    return read_checkpoint(find_prefix(directory)) | read_output(directory)


def read_train_dir(directory):
    """Return the newest checkpoint of a train directory."""
    from yt8m_ensemble.checkpoints import latest_prefix

    return read_checkpoint(latest_prefix(directory))


def read_cache(path):
    """Return the digest of a finished cache."""
    from yt8m_ensemble.storage import open_predictions, predictions_digest

    with open_predictions(path) as opened:
        assert opened.is_complete
    return predictions_digest(path)


def read_run(folder):
    """Return what the steps of a recipe wrote that has to be replaced when the merge changes."""
    return Outputs(
        model=read_model(f"{folder}/merged"),
        bundle=read_output(f"{folder}/e.tgz"),
        scores=read_cache(f"{folder}/predictions/merged.h5"),
    )


class Outputs(dict[str, object]):
    """What several outputs hold, of which each is replaced by itself."""


def make_setting(directory):
    """Write records, a recipe, train directories and parts of caches."""
    import numpy as np

    from tests.builders.models import small_flags, write_train_dir
    from tests.builders.predictions import make_predictions
    from tests.builders.records import write_video_records
    from yt8m_ensemble.storage import PredictionsWriter

    for number in range(3):
        write_video_records(directory / f"r{number}.tfrecord", seed=number, first=10 * number)
    (directory / "recipe.toml").write_text(RECIPE.replace("{directory}", str(directory)))
    for seed, name in enumerate("ab"):
        for step in (1, 2, 3):
            write_train_dir(directory / name, small_flags("MoeModel"), seed=seed, step=step)
            Path(directory, name, f"model.ckpt-{step}.meta").write_bytes(b"graph %d" % step)
    for group in ("old", "new"):
        scores, labels = make_predictions(60, 5, 2, seed=len(group))
        if group == "new":
            scores = scores[:, ::-1].copy()
        for part in range(3):
            rows = slice(20 * part, 20 * part + 20)
            ids = np.array([b"v%d" % n for n in range(60)])[rows]
            with PredictionsWriter(
                str(directory / f"{group}{part}.h5"), members="ab", digests="ab", num_classes=5
            ) as writer:
                writer.append(ids, scores[:, rows], labels[rows])
                writer.end_shard(f"shard{part}")


def make_models(directory):
    """Merge two models that differ in weights and precision, each in a process that it ends."""
    merge = ["merge", "--member", f"{directory}/a", "--member", f"{directory}/b"]
    for name, own in (("old", ["0.5,0.5"]), ("new", ["0.7,0.3", "--fp16"])):
        command = [*merge, "--weights", *own, "--out", f"{directory}/m-{name}"]
        assert fork(lambda command=command: run(command)) == 0


def make_cases(directory):
    """Return the commands to kill, by name."""
    average = ["avg-ckpt", "--prefix", f"{directory}/a", "--allow-different-runs"]
    merge = ["merge", "--member", f"{directory}/a", "--member", f"{directory}/b"]
    predict = ["predict", "--data", f"{directory}/r*.tfrecord", "--batch-size", "4"]
    train = ["train", "--train-dir", f"{directory}/t", "--train-data", f"{directory}/r*.tfrecord",
             "--model", "LogisticModel", "--features", "video", "--feature-sizes", "6,2",
             "--num-classes", "5", "--batch-size", "4", "--num-epochs", "9"]  # fmt: skip
    recipe = ["run", f"{directory}/recipe.toml"]
    out = f"{directory}/out"
    weights = f"{out}.weights.h5"
    caches = {g: [f"{directory}/{g}{n}.h5" for n in range(3)] for g in ("old", "new")}

    def replacing(*command, old, new, out=out, read=read_output, named="--out"):
        first, second = ([*command, *own, named, out, "--force"] for own in (old, new))
        return Case(first, second, lambda: read(out))

    def cached(*command, **options):
        old, new = ([f"--predictions={caches[group][0]}"] for group in caches)
        return replacing(*command, old=old, new=new, out=f"{out}.json", **options)

    def converting(step):
        return ["convert", "checkpoint", f"{directory}/a/model.ckpt-{step}", weights, "--force"]

    return {
        "avg-ckpt": replacing(
            *average, old=["--range", "1,2"], new=["--range", "2,3"], out=f"{out}/c",
            read=read_checkpoint,
        ),
        "avg-ckpt-safetensors": replacing(
            *average, old=["--range", "1,2"], new=["--range", "2,3"], out=f"{out}.safetensors"
        ),
        "edit": replacing(
            "edit", f"{directory}/a@1", old=["--rename", "(.*)=>x/\\1"],
            new=["--rename", "(.*)=>y/\\1"], out=f"{out}/c", read=read_checkpoint,
        ),
        "merge": replacing(
            *merge, old=["--weights", "0.5,0.5"], new=["--weights", "0.7,0.3", "--fp16"],
            read=read_model,
        ),
        "package": replacing(
            "package", old=["--model", f"{directory}/m-old", "--card"],
            new=["--model", f"{directory}/m-new"], out=f"{out}.tgz",
        ),
        "package-savedmodel": replacing(
            "package", "--format", "savedmodel", "--card", old=["--model", f"{directory}/m-old"],
            new=["--model", f"{directory}/m-new"],
        ),
        "extract": replacing(
            "extract", old=[f"{directory}/m-old"], new=[f"{directory}/m-new", "--decode"]
        ),
        "train": Case(
            [*train, "--max-steps", "2"], [*train, "--max-steps", "4"],
            lambda: read_train_dir(f"{directory}/t"),
        ),
        "predict": Case(
            [*predict, "--force", "--model", f"{directory}/a", "--cache", f"{out}.h5"],
            [*predict, "--force", "--model", f"{directory}/b", "--cache", f"{out}.h5"],
            lambda: read_cache(f"{out}.h5"),
        ),
        "merge-predictions": replacing(
            "merge-predictions", old=caches["old"], new=caches["new"], out=f"{out}.h5",
            read=read_cache,
        ),
        "tune-weights": cached("tune-weights", "--space", "logit", "--bootstrap", "20"),
        "select": cached("select", "--size", "a=1000", "--size", "b=1000"),
        "convert": Case(converting(1), converting(2), lambda: read_output(weights)),
        "blend": replacing(
            "blend", "--scores", f"{directory}/old0.h5", old=["--weights", "0.5,0.5"],
            new=["--weights", "0.9,0.1"], out=f"{out}.csv", named="--csv",
        ),
        "run": Case(
            recipe, [*recipe, "--force", "--set", "e.merge.fp16=auto"],
            lambda: read_run(f"{directory}/run/e"),
        ),
        "synth": replacing(
            "synth", "--videos", "20", "--classes", "5", "--shards", "3", old=["--seed", "1"],
            new=["--seed", "2"],
        ),
    }  # fmt: skip


def moments(total, budget):
    """Choose changes to be killed at: the last, where outputs get their names, and a spread."""
    last = range(max(0, total - budget // 2), total)
    step = max(1, -(-last.start // max(1, budget - len(last))))
    return sorted({*range(0, last.start, step), *last})


def try_case(case, directory, whole, budget):
    """Kill a command again and again; return what was found."""
    report = directory.parent / "changes"

    def restore(source):
        shutil.rmtree(directory)
        shutil.copytree(source, directory, symlinks=True)

    assert fork(lambda: run(case.old)) == 0
    old = case.read()
    start = directory.parent / "start"
    shutil.rmtree(start, ignore_errors=True)
    shutil.copytree(directory, start)

    def counted():
        count_changes(str(directory), report=report)
        run(case.new)

    assert fork(counted) == 0
    new, total = case.read(), int(report.read_text())
    names = names_below(directory)
    assert old != new
    found = {"old": 0, "between": 0, "new": 0}
    lost = []
    for moment in moments(total, budget):
        restore(start)

        def killed(moment=moment):
            count_changes(str(directory), kill_at=moment)
            run(case.new)

        assert fork(killed) == -signal.SIGKILL, moment
        try:
            found[which(case.read(), old, new)] += 1
            code = fork(lambda: run(case.new))
            left = names_below(directory)
            if (code, case.read(), left) != (0, new, names):
                lost.append([moment, f"again: {code}", sorted(left ^ names)])
        except Exception as error:
            lost.append([moment, type(error).__name__, str(error)])
    restore(whole)
    return {"changes": total, "kills": sum(found.values()), **found, "lost": lost}


def which(found, old, new):
    """Return which of two outputs is there; of several, some may be old and some new."""
    if found in (old, new):
        return "old" if found == old else "new"
    assert isinstance(found, Outputs), "neither the old nor the new output"
    for name, output in found.items():
        assert output in (old[name], new[name]), f"neither the old nor the new {name}"
    return "between"


def names_below(directory):
    """Return what lies in a directory; the name of an event file holds a time."""
    found = (path for path in directory.rglob("*") if "tfevents" not in path.name)
    return {str(path.relative_to(directory)) for path in found}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budget", type=int, default=40)
    parser.add_argument("--commands", default=",".join(make_cases("")))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        directory, whole = Path(folder, "work"), Path(folder, "whole")
        directory.mkdir()
        import tensorflow  # noqa: F401 - here once, not in each of the processes to come

        assert fork(lambda: make_setting(directory)) == 0
        make_models(directory)
        shutil.copytree(directory, whole)
        for name in options.commands.split(","):
            case = make_cases(directory)[name]
            found = try_case(case, directory, whole, options.budget)
            sys.stdout.write(f"{json.dumps({'command': name, **found})}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
