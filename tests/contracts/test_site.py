"""The site is made without a warning, tells of every public name, and needs no network to read."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import yt8m_ensemble

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
(BUILD,) = re.findall(
    r"^\.venv/bin/sphinx-build (.*) docs build/site", (ROOT / ".ci/run").read_text(), re.M
)


def build(pages, out):
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *BUILD.split(), str(pages), str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_reference_tells_of_every_public_name():
    named = re.findall(
        r"^\.\. auto(?:function|class|exception):: yt8m_ensemble\.(\w+)$",
        (DOCS / "api.md").read_text(),
        re.M,
    )
    assert sorted([*named, "EnsembleError"]) == yt8m_ensemble.__all__
    assert ".. automodule:: yt8m_ensemble.errors\n   :members:" in (DOCS / "api.md").read_text()


@pytest.mark.tf
@pytest.mark.slow
def test_the_site_is_made_and_loads_nothing_from_elsewhere(tmp_path):
    done = build(DOCS, tmp_path)
    assert done.returncode == 0, done.stderr
    pages = {page.stem: page.read_text() for page in tmp_path.glob("**/*.html")}
    assert {path.stem for path in DOCS.glob("**/*.md")} <= set(pages)
    for name, text in pages.items():
        assert not re.findall(r'(?:src=|<link[^>]* href=)"(?:https?:)?//[^"]*', text), name
    assert "Mixture weights" in pages["api"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[x](absent.md)", "cross-reference target not found: 'absent.md'"),
        ("[x](other.md#no-such-part)", "'other.md#no-such-part'|no-such-part"),
        ("```{eval-rst}\n.. autofunction:: yt8m_ensemble.no_such_name\n```", "no_such_name"),
    ],
    ids=["page", "anchor", "name"],
)
def test_a_link_to_nothing_fails_the_build(tmp_path, text, complaint):
    pages = tmp_path / "docs"
    pages.mkdir()
    shutil.copy(DOCS / "conf.py", pages)
    shutil.copytree(DOCS / "static", pages / "static")
    (pages / "other.md").write_text("# Other\n")
    index = "# Home\n\n```{toctree}\nother\n```\n\n"
    (pages / "index.md").write_text(index)
    assert build(pages, tmp_path / "sound").returncode == 0
    (pages / "index.md").write_text(f"{index}{text}\n")
    done = build(pages, tmp_path / "broken")
    assert done.returncode != 0
    assert re.search(complaint, done.stderr), done.stderr
