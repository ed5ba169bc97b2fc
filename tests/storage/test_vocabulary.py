"""Names of classes: commas, quotes and unicode come through; what is no vocabulary is named."""

import pytest

from yt8m_ensemble.errors import DataError
from yt8m_ensemble.storage.vocabulary import describe_class, read_vocabulary


def write(tmp_path, text):
    path = tmp_path / "v.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_names_of_any_letters(tmp_path):
    text = '\ufeffTrain,Index,Name\r\n9,0,"Guitar, ""electric"""\r\n\r\n9,2,Übung 水\r\n9,3,\r\n'
    names = read_vocabulary(write(tmp_path, text))
    assert names == {0: 'Guitar, "electric"', 2: "Übung 水"}
    assert describe_class(2, names) == "2 Übung 水"
    assert describe_class(3, names) == "3"
    assert read_vocabulary(None) == {}


def test_the_vocabulary_of_youtube_8m(shared):
    names = read_vocabulary(str(shared / "data" / "vocabulary.csv"))
    assert names[0] == "Game"
    assert max(names) < 3862


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have columns `Index` and `Name`; its first line names none"),
        ("Id,Name\n0,a\n", "its first line names Id, Name"),
        ("Index,Name\nx,a\n", "Line 2 of .* has no class in column `Index`"),
        ("Index,Name\n-1,a\n", "Line 2"),
        ("Index,Name\n0\n", "Line 2"),
        ("Index,Name\n0,a\n0,b\n", "Line 3 of .* names class 0 again"),
    ],
)
def test_what_is_no_vocabulary(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_vocabulary(write(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="No vocabulary at"):
        read_vocabulary(str(tmp_path / "v.csv"))
