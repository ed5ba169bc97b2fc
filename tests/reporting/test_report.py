"""The command `report`: every kind of run and of loose files ends in a whole, harmless page."""

import html
import json
import shutil
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from click.testing import CliRunner

from tests.builders.predictions import make_predictions
from tests.builders.runs import make_run, write_cache
from yt8m_ensemble.cli.root import cli
from yt8m_ensemble.errors import (
    AlignmentError,
    DataError,
    OutputExistsError,
    RecipeError,
    UsageError,
)
from yt8m_ensemble.steps.report import make_report
from yt8m_ensemble.values import MixtureWeights

KEYS = [
    "format", "verdict", "members", "mixture", "steps", "sizes", "checks", "videos", "recipe",
    "versions",
]  # fmt: skip
NASTY = '<b>&"$x$ `r`|_*'


class Page(HTMLParser):
    """A page as a browser reads it: its text, and what is wrong with it."""

    def __init__(self, text):
        super().__init__()
        self.ids: list[str] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self.references: list[str] = []
        self.texts: list[str] = []
        self.figures = 0
        self.feed(text)
        self.close()
        self.text = "".join(self.texts)
        self.faults += [f"{tag} is not closed" for tag in self.open]
        self.faults += [f"{id_} twice" for id_ in set(self.ids) if self.ids.count(id_) > 1]
        self.faults += [f"nothing is {r}" for r in self.references if r not in self.ids]

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag in {"script", "link", "img", "iframe", "object"} or any(
            name.startswith("on") for name in values
        ):
            self.faults.append(f"{tag} {values}")
        for name in ("src", "href", "xlink:href"):
            target = values.get(name)
            if target is not None and target.startswith("#"):
                self.references.append(target[1:])
            elif target is not None and not target.startswith("data:image/png;"):
                self.faults.append(f"{tag} reaches {target}")
        self.references += values.get("aria-labelledby", "").split()
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "svg":
            self.figures += 1
            if values.get("role") != "img" or "aria-labelledby" not in values:
                self.faults.append("a figure has no name")
        if tag not in {"meta"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes another")

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in {"meta"}:
            self.open.pop()

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.texts.append(data)


def report(tmp_path, *runs, **options):
    result = make_report(runs=[str(run) for run in runs], out=str(tmp_path / "r.html"), **options)
    text = (tmp_path / "r.html").read_text()
    assert len(text) < 3_000_000
    page = Page(text)
    assert page.faults == []
    data = json.loads((tmp_path / "r.json").read_text())
    return result, page, data


@pytest.mark.slow
def test_a_whole_run_is_told_in_words_tables_and_figures(tmp_path):
    run = make_run(tmp_path / "out")
    result, page, data = report(tmp_path, run)
    assert list(data) == KEYS
    assert data["format"] == 1
    steps = data["steps"]["e"]
    assert [step["name"] for step in steps] == [
        "last checkpoint, a", "averaged, a", "uniform, logit", "tuned weights",
        "as stored in the bundle",
    ]  # fmt: skip
    for before, after in pairwise(steps):
        assert after["difference"] == pytest.approx(after["gap"] - before["gap"], abs=1e-12)
        low, high = after["interval95"]
        assert low <= after["difference"] <= high
    assert steps[-1]["equivalence"]["equivalent"] in {True, False}
    difference = data["verdict"]["e"]["difference"]
    assert difference == pytest.approx(steps[-1]["gap"] - steps[1]["gap"], abs=1e-12)
    assert f"{difference:+.5f}, paired 95 % interval [" in page.text
    assert "passed all 1 checks" in result.verdicts["e"]
    assert data["checks"]["e"] == [{"name": "four files", "is_ok": True, "detail": "4"}]
    comparison = data["videos"]["e"]["comparison"]
    assert data["videos"]["e"]["num_videos"] == comparison["num_videos"] < 200
    assert -1 <= comparison["pairs"][0]["q"] <= 1
    assert page.figures >= 7
    markdown = (tmp_path / "r.md").read_text()
    assert markdown.startswith("# Report on ")
    assert "| tuned weights | 0." in markdown


def test_what_is_absent_names_the_command_that_makes_it(tmp_path):
    run = make_run(tmp_path / "out")
    (run / "e/predictions/merged.h5").unlink()
    (run / "e/predictions/last.h5").unlink()
    shutil.rmtree(run / ".steps")
    _, page, data = report(tmp_path, run)
    assert "It was not verified." in page.text
    for command in ("predict --model X.tgz --cache", "merge", "verify", "train", "run"):
        assert f"yt8m-ens {command}" in page.text
    assert data["sizes"] == {"e": None}
    assert data["checks"] == {"e": None}
    assert [s["name"] for s in data["steps"]["e"]] == ["a", "uniform, logit", "tuned weights"]


def test_an_interrupted_run_has_a_page(tmp_path):
    (tmp_path / "out/e/train/a").mkdir(parents=True)
    steps = tmp_path / "out/.steps"
    steps.mkdir()
    (steps / "e.train.a.json").write_text('{"key": "k"}')
    _, page, data = report(tmp_path, tmp_path / "out")
    assert "Nothing was judged" in page.text
    assert [member["name"] for member in data["members"]["e"]] == ["a"]
    assert data["steps"] == {"e": None}


def test_a_run_stopped_before_its_new_members_were_tuned_has_a_page(tmp_path):
    run = make_run(tmp_path / "out", num_videos=60)
    weights = MixtureWeights.uniform(("a", "gone"), space="logit")
    (run / "e/weights.json").write_text(weights.to_json())
    _, page, data = report(tmp_path, run)
    assert "There are no weights of these members" in page.text
    assert data["mixture"] == {"e": None}
    assert [member["name"] for member in data["members"]["e"]] == ["a", "b", "c"]


def test_scores_without_labels_are_not_judged(tmp_path):
    cache = write_cache(tmp_path / "p.h5", make_predictions(20, 30)[0], None, members="abc")
    _, page, data = report(tmp_path, predictions=[cache])
    assert "The scores carry no labels." in page.text
    assert data["videos"] == {"p": None}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 30])
def test_any_number_of_members_has_a_page(tmp_path, count):
    members = tuple(f"member-{number}" for number in range(count))
    run = make_run(tmp_path / "out", members=members, num_videos=120)
    _, page, data = report(tmp_path, run)
    assert [member["name"] for member in data["members"]["e"]] == list(members)
    if count == 1:
        assert data["verdict"]["e"]["over"] is None
        assert "nothing to compare" in page.text


@pytest.mark.slow
def test_a_whole_vocabulary_with_names_that_need_escaping(tmp_path):
    vocabulary = tmp_path / "v.csv"
    rows = [f'{n},"{NASTY.replace(chr(34), chr(34) * 2)} {n}"' for n in range(3862)]
    vocabulary.write_text("\n".join(["Index,Name", *rows]))
    members = (NASTY, "b")
    run = make_run(tmp_path / "out", members=members, num_videos=80, num_classes=3862)
    _, page, data = report(tmp_path, run, vocabulary=str(vocabulary))
    assert NASTY in page.text.replace("`", "`")
    assert data["members"]["e"][0]["name"] == NASTY
    text = (tmp_path / "r.html").read_text()
    assert "<b>" not in text
    assert html.escape(NASTY, quote=False)[:12] in text
    markdown = (tmp_path / "r.md").read_text()
    assert NASTY[:4] not in markdown.replace("\\", "\\\\")
    assert r"\<b\>" in markdown


@pytest.mark.slow
def test_loose_files_of_a_top_k_are_told_without_calibration(tmp_path):
    scores, labels = make_predictions(150, 60)
    cache = write_cache(tmp_path / "p.h5", scores, labels, members="abc", top_k=30)
    weights = tmp_path / "w.json"
    weights.write_text(MixtureWeights.uniform("ba", space="logit").to_json())
    _, page, data = report(tmp_path, predictions=[cache], weights=str(weights))
    assert data["videos"]["w"]["judged"] == "all"
    assert "calibration needs all" in page.text
    assert [m["name"] for m in data["members"]["w"]] == ["b", "a"]


@pytest.mark.slow
def test_two_runs_pass_or_fail(tmp_path):
    before = make_run(tmp_path / "before")
    after = make_run(tmp_path / "after", noise=0.3)
    same = make_run(tmp_path / "same")
    arguments = ["report", "--margin", "0.001", "--out", str(tmp_path / "c.html"), "--json"]
    worse = CliRunner().invoke(cli, [*arguments, str(before), str(after)])
    assert worse.exit_code == 1
    assert Page((tmp_path / "c.html").read_text()).faults == []
    (found,) = json.loads((tmp_path / "c.json").read_text())["comparison"]
    assert (found["name"], found["passes"]) == ("e", False)
    assert found["equivalence"]["interval90"][1] < -0.001
    assert "GAP of the last step" in found["changes"]
    assert json.loads(worse.stdout)["comparisons"][0]["passes"] is False
    for first, second in ((before, same), (after, before)):
        done = CliRunner().invoke(cli, [*arguments, "--force", str(first), str(second)])
        assert done.exit_code == 0, done.output
        assert "e passes: " in done.stderr


def test_runs_without_a_shared_video_or_ensemble_are_refused(tmp_path):
    one = make_run(tmp_path / "one", num_videos=100)
    other = make_run(tmp_path / "other", num_videos=60)
    weights = other / "e/weights.json"
    held = json.loads(weights.read_text())
    weights.write_text(json.dumps({**held, "holdout": 1e-9, "seed": 5}))
    with pytest.raises((AlignmentError, UsageError)):
        report(tmp_path, one, other)
    make_run(tmp_path / "one", num_videos=60, name="f")
    make_run(tmp_path / "two", num_videos=60, name="g")
    make_run(tmp_path / "two", num_videos=60, name="h")
    with pytest.raises(RecipeError, match="two runs with an ensemble of one name"):
        report(tmp_path, tmp_path / "one", tmp_path / "two")


def test_nothing_is_overwritten_without_force(tmp_path):
    run = make_run(tmp_path / "out", num_videos=60)
    (tmp_path / "r.md").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"r\.md"):
        report(tmp_path, run)
    assert not (tmp_path / "r.html").exists()
    report(tmp_path, run, force=True)
    assert (tmp_path / "r.md").read_text() != "mine"


def test_records_of_a_later_toolkit_are_refused(tmp_path):
    run = make_run(tmp_path / "out", num_videos=60)
    (run / ".steps/e.verify.json").write_text('{"format": 3}')
    with pytest.raises(RecipeError, match="has format 3, expected at most 2"):
        report(tmp_path, run)


def test_wrong_usage_is_named(tmp_path):
    with pytest.raises(UsageError, match="Nothing to report on"):
        make_report()
    with pytest.raises(UsageError, match="Let its name end in"):
        make_report(runs=["x"], out="report")
    with pytest.raises(RecipeError, match="holds no ensemble of a recipe"):
        make_report(runs=[str(tmp_path)], out=str(tmp_path / "r.html"))
    vocabulary = tmp_path / "v.csv"
    run = make_run(tmp_path / "out", num_videos=60)
    vocabulary.write_text("Number,Name\n0,x\n")
    with pytest.raises(DataError, match="must have columns `Index` and `Name`"):
        report(tmp_path, run, vocabulary=str(vocabulary))
    vocabulary.write_text("Index,Name\nzero,x\n")
    with pytest.raises(DataError, match=r"Line 2 of .* has no class in column"):
        report(tmp_path, run, vocabulary=str(vocabulary))
