"""Outputs appear whole or not at all: one winner, no old provenance beside them, nothing stale."""

import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.faults.kill import count_changes, fork
from tests.faults.processes import dead_mark
from yt8m_ensemble import files
from yt8m_ensemble.errors import OutputExistsError, UsageError
from yt8m_ensemble.parts import new_mark, remove_stale_parts


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def write_both(opener, path):
    """Two writers without `force` that both began before either ended."""
    with ExitStack() as stack:
        put(stack.enter_context(opener(path)), "first")
        with opener(path) as part:
            put(part, "second")
        with pytest.raises(OutputExistsError, match="exists already"):
            stack.close()


def put(path, text):
    path = Path(path)
    (path / "x" if path.is_dir() else path).write_text(text)


def test_of_two_writers_one_wins(tmp_path):
    write_both(files.atomic_file, str(tmp_path / "f"))
    assert (tmp_path / "f").read_text() == "second"
    write_both(files.atomic_directory, str(tmp_path / "d"))
    assert (tmp_path / "d" / "x").read_text() == "second"
    assert names(tmp_path) == ["d", "f"]


def test_without_hard_links_one_wins_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_both(files.atomic_file, str(tmp_path / "f"))
    assert (tmp_path / "f").read_text() == "second"


def test_an_old_provenance_goes_before_its_output(tmp_path):
    for name, opener in (("f", files.atomic_file), ("d", files.atomic_directory)):
        path = str(tmp_path / name)
        with opener(path) as part:
            put(part, "old")
        (tmp_path / f"{name}.provenance.json").write_text("{}")
        with opener(path, force=True) as part:
            put(part, "new")
            assert (tmp_path / f"{name}.provenance.json").exists()
    assert names(tmp_path) == ["d", "f"]


def write_described(opener, path, text):
    with opener(path, force=True) as part:
        put(part, text)
        for ending in (".provenance.json", ".card.md") if text == "new" else (".provenance.json",):
            put(f"{part}{ending}", text)


def read_described(path):
    files.recover_output(path)
    file = f"{path}/x" if Path(path).is_dir() else path
    found = [file, f"{path}.provenance.json", f"{path}.card.md"]
    return [Path(name).read_text() for name in found if Path(name).exists()]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "directory", "directory without exchange"])
@pytest.mark.parametrize("is_replaced", [True, False])
def test_what_describes_an_output_appears_with_it(tmp_path, monkeypatch, kind, is_replaced):
    """Killed before any change of the file system: old and old, or new and new."""
    if "without" in kind:
        monkeypatch.setattr(files, "_exchange", lambda *_: False)
    opener = files.atomic_file if kind == "file" else files.atomic_directory
    old, found = ["old", "old"] if is_replaced else [], []
    for moment in range(100):
        folder = tmp_path / str(moment)
        folder.mkdir()
        path = str(folder / "out")
        if is_replaced:
            write_described(opener, path, "old")

        def killed(moment=moment, folder=folder, path=path):
            count_changes(str(folder), kill_at=moment)
            write_described(opener, path, "new")

        code = fork(killed)
        found.append(read_described(path))
        assert found[-1] in (old, ["new"] * 3), moment
        write_described(opener, path, "new")
        assert read_described(path) == ["new"] * 3
        assert names(folder) == ["out", "out.card.md", "out.provenance.json"]
        if not code:
            break
    assert found.count(old) > 5
    assert found.count(["new"] * 3) > 3


def test_what_nothing_describes_loses_what_described_the_old(tmp_path):
    path = str(tmp_path / "f")
    write_described(files.atomic_file, path, "new")
    with pytest.raises(OutputExistsError), files.atomic_file(path) as part:
        put(part, "other")
    assert read_described(path) == ["new"] * 3
    with files.atomic_file(path, force=True) as part:
        put(part, "other")
    assert names(tmp_path) == ["f"]


def test_a_failed_output_leaves_nothing_of_what_describes_it(tmp_path):
    for opener in (files.atomic_file, files.atomic_directory):
        with suppress(RuntimeError), opener(str(tmp_path / "f")) as part:
            put(part, "new")
            put(f"{part}.provenance.json", "new")
            raise RuntimeError
    assert not names(tmp_path)


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_directory_is_replaced_whole(tmp_path, monkeypatch, can_exchange):
    if not can_exchange:
        monkeypatch.setattr(files, "_exchange", lambda *_: False)
    for text in ("old", "new"):
        with files.atomic_directory(str(tmp_path / "d"), force=True) as part:
            put(part, text)
    assert (tmp_path / "d" / "x").read_text() == "new"
    assert names(tmp_path) == ["d"]


@pytest.mark.parametrize("old_is_aside", [True, False])
def test_an_interrupted_replacement_is_finished(tmp_path, caplog, old_is_aside):
    if not old_is_aside:
        (tmp_path / "d").mkdir()
        put(tmp_path / "d", "old")
    (tmp_path / ".d.swap").mkdir()
    put(tmp_path / ".d.swap", "new")
    assert files.recover_output(str(tmp_path / "d"))
    assert (tmp_path / "d" / "x").read_text() == "new"
    assert names(tmp_path) == ["d"]
    assert "Finished the interrupted replacement" in caplog.text
    assert not files.recover_output(str(tmp_path / "d"))


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    path = str(tmp_path / "f")
    code = (
        "import os; from yt8m_ensemble import files\n"
        f"with files.atomic_file({path!r}) as part, files.atomic_directory({path!r}) as folder:\n"
        "    open(part, 'w').close(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(names(tmp_path)) == 2
    with files.atomic_file(path) as part:
        put(part, "new")
    assert names(tmp_path) == ["f"]


def test_of_all_temporary_names_those_of_killed_processes_go(tmp_path):
    dead = dead_mark()
    kept = [f".a{new_mark()}", f".a{dead}".replace("part-", "part-another-"), ".b", f"c{dead}"]
    for name in (*kept, f".a{dead}", f".a{dead}.provenance.json"):
        (tmp_path / name).touch()
    (tmp_path / f".d{dead}").mkdir()
    (tmp_path / f".d{dead}" / "x").touch()
    remove_stale_parts(tmp_path)
    assert names(tmp_path) == sorted(kept)


@pytest.mark.tf
def test_an_output_of_the_file_layer_removes_what_a_killed_process_left_of_it(tmp_path):
    kept = ["f", f"f{new_mark()}", f"g{dead_mark()}"]
    for name in (*kept[1:], f"f{dead_mark()}"):
        (tmp_path / name).touch()
    files.write_text(f"file://{tmp_path}/f", "new")
    assert names(tmp_path) == sorted(kept)


def test_names_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / ("é" * 127)
    with files.atomic_file(str(path)) as part:
        put(part, "new")
    assert names(tmp_path) == [path.name]


def test_directories_and_devices_are_no_output(tmp_path):
    for path, message in ((str(tmp_path), "is a directory"), ("/dev/null", "is a device")):
        with pytest.raises(UsageError, match=message), files.atomic_file(path, force=True):
            pass
