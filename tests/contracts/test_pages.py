"""What README and the pages of `docs/` show is so: every block is run, in order, and prints that.

A comment above a block says what it is:

    <!-- example -->     shell or Python, run where the page's earlier blocks were
    <!-- output -->      what the example before it printed, digits aside; `…` for lines left out
    <!-- file NAME -->   a file that later blocks read
"""

import os
import re
import subprocess
import sys
from dataclasses import MISSING, dataclass
from pathlib import Path

import pytest

from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.options import (
    AverageOptions,
    EvalOptions,
    MergeOptions,
    PredictOptions,
    TrainOptions,
    fields_of,
)
from yt8m_ensemble.options.architectures import architecture_fields

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"
GENERATED = {"api.md", "commands.md", "index.md"}
PAGES = [
    README,
    *sorted(page for page in (ROOT / "docs").glob("**/*.md") if page.name not in GENERATED),
]
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[a-z]+) ?(?P<name>\S*) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
QUICK = (
    "synth.video-train.videos=300",
    "synth.video-validate.videos=200",
    "synth.frame-train.videos=120",
    "synth.frame-validate.videos=100",
    "ensembles.video.train.num_epochs=5",
    "ensembles.frame.train.num_epochs=3",
    "ensembles.video.train.save_steps=2",
    "ensembles.frame.train.save_steps=1",
    "ensembles.frame.tune.keep_tuned=true",
)


@dataclass
class Workshop:
    """A directory in which blocks run one after another."""

    directory: Path
    printed: str = ""

    def run(self, page):
        for block in BLOCK.finditer(page.read_text()):
            mark, text = block["mark"], block["text"]
            if mark == "file":
                (self.directory / block["name"]).write_text(text)
            elif mark == "example":
                self.execute(block["language"], text)
            elif mark == "output" and page != README:
                assert_printed(text, self.printed)

    def execute(self, language, code):
        command = {
            "bash": ["bash", "-euo", "pipefail", "-c", code],
            "python": [sys.executable, "-c", code],
        }[language]
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={
                **os.environ,
                "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        self.printed = done.stdout + done.stderr
        assert done.returncode == 0, f"{code}\n{self.printed[-2000:]}"


def make_workshop(directory):
    shim = directory / "bin" / "yt8m-ens"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m yt8m_ensemble "$@"\n')
    shim.chmod(0o755)
    (directory / "recipes").symlink_to(ROOT / "recipes")
    (directory / "examples").symlink_to(ROOT / "examples")
    return Workshop(directory)


def skeleton(text):
    """Return the lines of an output without digits, signs and spacing."""
    masked = re.sub(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?", "#", text)
    lines = (" ".join(line.replace("─", "").split()) for line in masked.splitlines())
    return [line for line in lines if line and line != "…"]


def assert_printed(shown, printed):
    """Check that every line shown was printed."""
    there = skeleton(printed)
    for line in skeleton(shown):
        assert line in there, f"'{line}' is not in:\n" + "\n".join(there)


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """The directory that a reader of the tutorial has at its end."""
    workshop = make_workshop(tmp_path_factory.mktemp("tutorial"))
    workshop.run(TUTORIAL)
    return workshop


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_run(page):
    for block in BLOCK.finditer(page.read_text()):
        runs = {"example", "file", "run", "test"}
        assert block["language"] == "text" or block["mark"] in runs, block["text"]


@pytest.mark.tf
@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if "<!-- example" in page.read_text()],
    ids=lambda page: page.stem,
)
def test_examples_run_as_written(page, tutorial):
    if page == TUTORIAL:
        blend = tutorial.directory
        assert (blend / "submission.csv").read_text().startswith("VideoId,LabelConfidencePairs\n")
        assert (blend / "blend.tgz").exists()
    else:
        tutorial.run(page)


@pytest.mark.tf
@pytest.mark.slow
def test_the_quickstart_prints_what_the_readme_shows(tmp_path):
    text = README.read_text()
    (command,) = re.findall(r"<!-- run -->\n```bash\n.*/(yt8m-ens run .*)\n```", text)
    (shown,) = (block["text"] for block in BLOCK.finditer(text) if block["mark"] == "output")
    workshop = make_workshop(tmp_path)
    workshop.execute("bash", " --set ".join([command, *QUICK]))
    assert_printed(shown, workshop.printed)


def test_a_line_that_was_not_printed_is_seen():
    assert_printed("a  0.25\n…\nb -1", "x\na 3.5\n  b   2")
    with pytest.raises(AssertionError, match="'c #' is not in"):
        assert_printed("c 1", "a 1")


def test_the_test_line_is_the_one_that_ci_runs():
    text = README.read_text()
    assert "<!-- test -->\n```bash\npython3.11 -m venv .venv && " in text
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


def tables(text):
    """Return the rows of the tables of a page by heading: cells by column."""
    found = []
    for part in re.split(r"^## ", text, flags=re.M)[1:]:
        heading, _, body = part.partition("\n")
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in body.splitlines()
            if line.startswith("|") and not line.startswith(("|---", "| theirs |"))
        ]
        found += [(heading, row) for row in rows if len(row) == 5]
    return found


OPTIONS = {
    "train": {**fields_of(TrainOptions), **architecture_fields()},
    "eval": fields_of(EvalOptions),
    "avg-ckpt": fields_of(AverageOptions),
    "merge": fields_of(MergeOptions),
    "predict": fields_of(PredictOptions),
}
FROM_2018 = tables((ROOT / "docs" / "from-2018.md").read_text())


@pytest.mark.parametrize(("heading", "row"), FROM_2018, ids=lambda value: str(value)[-60:])
def test_an_option_of_the_migration_table_has_that_default(heading, row):
    command = re.findall(r"→ `([\w-]+)`", heading)[0]
    _, _, here, default, _ = row
    flags = re.findall(r"`(--[\w-]+)`", here)
    assert len(flags) == bool(here)
    for flag in flags:
        (parameter,) = [item for item in cli.commands[command].params if flag in item.opts]
        described = OPTIONS[command][parameter.name]
        told = described.spelling.default
        if told is None and described.default not in {MISSING, None, ()}:
            told = f"`{described.default}`"
        assert default == (told or "")


THEIRS = """
train_dir train_data_pattern feature_names feature_sizes frame_features model start_new_model
batch_size label_loss regularization_penalty base_learning_rate learning_rate_decay
learning_rate_decay_examples num_epochs max_steps export_model_steps num_readers optimizer
clip_gradient_norm log_device_placement eval_data_pattern run_once top_k input_data_pattern
input_model_tgz untar_model_dir segment_labels segment_max_pred segment_label_ids_file output_file
output_model_tgz json_prediction_files_pattern csv_output_file checkpoints_start_end prefix
output_path checkpoints ensemble_num ensemble_wts float16_flag create_meta_only
force_output_model_name checkpoint_file checkpoint inference_model out_name
"""
"""Flags of `train.py`, `eval.py`, `inference.py`, the converter, and the 10th-place README."""

NOT_IN_THE_ORIGINALS = {"groups", "expansion", "drop_rate", "gating_reduction"}


def test_the_migration_page_tells_of_every_flag_and_of_every_architecture_option():
    text = (ROOT / "docs" / "from-2018.md").read_text()
    older = {
        name
        for name in architecture_fields()
        if name not in NOT_IN_THE_ORIGINALS and not name.startswith(("mlp_", "nextvlad_"))
    }
    assert {name for name in (*THEIRS.split(), *older) if f"`--{name}`" not in text} == set()
