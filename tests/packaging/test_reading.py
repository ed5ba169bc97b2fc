import gzip
import io
import os
import tarfile
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.packaging.archives import CONTENTS, build, entry, sound, write_model
from yt8m_ensemble.errors import BundleError, DataError
from yt8m_ensemble.packaging import BUNDLE_FILES, extract_bundle, list_bundle, write_bundle

LAYOUTS = {
    "2018": (sound(), ("2018",)),
    "2018 with dots": ([entry("./", kind=tarfile.DIRTYPE), *sound("./")], ("2018",)),
    "2019": (
        [
            sound()[0],
            entry("inference_model", kind=tarfile.DIRTYPE),
            *sound("inference_model/")[1:],
            entry("inference_model/checkpoint"),
        ],
        ("2019",),
    ),
    "both, as links": (
        [
            *sound(),
            *(
                entry(f"./inference_model/{name}", kind=tarfile.LNKTYPE, link=f"./{name}")
                for name in BUNDLE_FILES[1:]
            ),
        ],
        ("2018", "2019"),
    ),
    "both, as copies": ([*sound(), *sound("inference_model/")[1:]], ("2018", "2019")),
    "other order": (sound()[::-1], ("2018",)),
}

HOSTILE = {
    "absolute path": (entry("/inference_model.meta"), "has an absolute path"),
    "parent path": (entry("../inference_model.meta"), "leads to a parent directory"),
    "hidden parent path": (entry("a/../../model_flags.json"), "leads to a parent directory"),
    "symbolic link": (
        entry("inference_model.meta", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        "is a symbolic link",
    ),
    "hard link outside": (
        entry("inference_model/inference_model.meta", kind=tarfile.LNKTYPE, link="/etc/passwd"),
        "has an absolute path",
    ),
    "hard link to a parent": (
        entry("inference_model/inference_model.meta", kind=tarfile.LNKTYPE, link="../x"),
        "leads to a parent directory",
    ),
    "hard link to no member": (
        entry("inference_model/inference_model.meta", kind=tarfile.LNKTYPE, link="passwd"),
        "is a hard link to 'passwd'",
    ),
    "hard link to another member": (
        entry("inference_model/inference_model.meta", kind=tarfile.LNKTYPE, link=BUNDLE_FILES[0]),
        "is a hard link to 'model_flags.json'",
    ),
    "hard link in another place": (
        entry("x/inference_model.meta", kind=tarfile.LNKTYPE, link="inference_model.meta"),
        "is an unknown file",
    ),
    "character device": (entry("null", kind=tarfile.CHRTYPE), "is a character device"),
    "block device": (entry("disk", kind=tarfile.BLKTYPE), "is a block device"),
    "named pipe": (entry("pipe", kind=tarfile.FIFOTYPE), "is a named pipe"),
    "two of one name": (entry("./inference_model.meta"), "appears twice"),
    "sparse file of 10 GB": (
        entry("inference_model.meta", kind=tarfile.GNUTYPE_SPARSE, size=10_000_000_000),
        "is a sparse file",
    ),
    "long name": (
        entry("././@LongLink", kind=tarfile.GNUTYPE_LONGNAME, size=100),
        "is a long name",
    ),
    "unknown kind": (entry("x", kind=b"?"), "is of the unknown kind b'\\?'"),
    "unknown file": (entry("inference_model.exe"), "is an unknown file"),
    "unknown directory": (entry("etc", kind=tarfile.DIRTYPE), "is an unknown directory"),
    "huge extended header": (
        entry("pax", kind=tarfile.XHDTYPE, size=1 << 30),
        "is an extended header of 1,073,741,824 bytes",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_unpacks_to_the_root(tmp_path, layout):
    entries, readers = LAYOUTS[layout]
    path = build(tmp_path / "a.tgz", entries)
    bundle = extract_bundle(path, str(tmp_path / "out"))
    assert bundle == list_bundle(path)
    assert bundle.readers == readers
    found = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    assert found == CONTENTS


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_hostile_archive_is_refused_before_anything_is_unpacked(tmp_path, fault):
    hostile, message = HOSTILE[fault]
    path = build(tmp_path / "a.tgz", [*sound(), hostile])
    with pytest.raises(BundleError, match=message) as caught:
        extract_bundle(path, str(tmp_path / "out"))
    assert caught.value.path == path
    assert caught.value.member in (hostile[0].name, hostile[0].linkname)
    assert [file.name for file in tmp_path.iterdir()] == ["a.tgz"]


@pytest.mark.parametrize("key", ["path=../../evil", "GNU.sparse.major=1", "size=10000000000"])
def test_an_extended_header_may_not_change_what_the_header_says(tmp_path, key):
    header = tarfile.TarInfo("model_flags.json")
    record = f" {key}\n"
    text = f"{len(record) + 2}{record}".encode()
    extended, _ = entry("pax", kind=tarfile.XHDTYPE, size=len(text))
    path = build(tmp_path / "a.tgz", [(extended, text), (header, b""), *sound()[1:]])
    with pytest.raises(BundleError, match="renames or resizes a file"):
        list_bundle(path)


def test_extended_headers_with_times_are_stepped_over(tmp_path):
    entries = sound()
    for header, _ in entries:
        header.mtime = 1234.5  # does not fit the plain header, so it goes into an extended one
    bundle = list_bundle(build(tmp_path / "a.tgz", entries, pax=True))
    assert [member.name for member in bundle.members] == list(BUNDLE_FILES)


def test_a_gzip_bomb_is_refused_at_its_header(tmp_path):
    bomb = entry("inference_model.meta", size=10_000_000_000)
    path = build(tmp_path / "a.tgz", [sound()[0], bomb])
    with pytest.raises(BundleError, match=r"would unpack to more than 64\.00 MB") as caught:
        list_bundle(path)
    assert caught.value.limit == 64_000_000


def test_what_an_archive_may_unpack_to_grows_with_it(tmp_path):
    bomb = entry("inference_model.meta", size=200_000_000)
    large = b"".join(np.random.default_rng(0).bytes(1 << 20) for _ in range(2))
    weights = tarfile.TarInfo("inference_model.data-00000-of-00001")
    weights.size = len(large)
    path = build(tmp_path / "a.tgz", [(weights, large), bomb])
    with pytest.raises(BundleError, match="ends in the middle"):
        list_bundle(path)


def test_flags_of_more_than_a_megabyte_are_refused(tmp_path):
    path = build(tmp_path / "a.tgz", [entry("model_flags.json", size=1_900_000_000)])
    with pytest.raises(BundleError, match=r"'model_flags\.json' has 1,900,000,000 bytes"):
        list_bundle(path)


def test_a_named_pipe_is_no_archive(tmp_path):
    os.mkfifo(tmp_path / "a.tgz")
    with pytest.raises(DataError, match="no regular file"):
        list_bundle(str(tmp_path / "a.tgz"))


def test_a_bomb_of_many_headers_is_bounded_too(tmp_path):
    text = b"20 comment=xxxxxxxx\n" * 3000
    headers = [(entry("pax", kind=tarfile.XHDTYPE, size=len(text))[0], text)] * 40
    path = build(tmp_path / "a.tgz", headers)
    with pytest.raises(BundleError, match=r"would unpack to more than 1\.00 MB"):
        list_bundle(path, max_unpacked=1_000_000)


def test_listing_holds_no_more_than_a_few_blocks_of_a_large_member(tmp_path):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name in BUNDLE_FILES:
            header = tarfile.TarInfo(name)
            header.size = 16 << 20 if name != "model_flags.json" else 1
            tar.addfile(header, io.BytesIO(bytes(header.size)))
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(data.getvalue(), 1))
    del data
    tracemalloc.start()
    try:
        list_bundle(str(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_what_follows_the_end_of_the_archive_is_bounded(tmp_path):
    path = build(tmp_path / "a.tgz", sound())
    with (tmp_path / "a.tgz").open("ab") as file:
        file.write(gzip.compress(bytes(3_000_000)))
    assert list_bundle(path).members
    with pytest.raises(BundleError, match="would unpack to more than"):
        list_bundle(path, max_unpacked=2_000_000)


def test_a_name_cannot_play_with_the_terminal(tmp_path):
    path = build(tmp_path / "a.tgz", [entry("\x1b[2Jinference_model.meta\udcff")])
    with pytest.raises(BundleError) as caught:
        list_bundle(path)
    assert r"its member '\x1b[2Jinference_model.meta\udcff' is an unknown file" in str(caught.value)


WHOLE = io.BytesIO()
for _header, _content in [*sound(), entry("inference_model", kind=tarfile.DIRTYPE)]:
    WHOLE.write(_header.tobuf() + _content + bytes(-len(_content) % tarfile.BLOCKSIZE))
WHOLE.write(bytes(1024))


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(WHOLE.getvalue()) - 1), st.binary(min_size=1, max_size=12)),
        max_size=4,
    ),
    is_signed=st.booleans(),
)
def test_whatever_the_bytes_an_archive_is_read_or_refused(tmp_path_factory, changes, is_signed):
    data = bytearray(WHOLE.getvalue())
    for position, content in changes:
        data[position : position + len(content)] = content
    if is_signed:  # headers whose checksum holds reach the rules behind it
        for start in range(0, len(data) - 512, 512):
            if data[start + 257 : start + 262] == b"ustar":
                blank = data[start : start + 148] + b" " * 8 + data[start + 156 : start + 512]
                data[start + 148 : start + 156] = b"%06o\0 " % sum(blank)
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "a.tgz").write_bytes(gzip.compress(bytes(data), 1))
    try:
        extract_bundle(str(folder / "a.tgz"), str(folder / "out"))
        assert {file.name for file in (folder / "out").iterdir()} == set(BUNDLE_FILES)
    except BundleError:
        assert [file.name for file in folder.iterdir()] == ["a.tgz"]


def test_two_different_copies_are_refused(tmp_path):
    other = entry("inference_model/inference_model.meta")[0], b"x" * 31
    other[0].size = 31
    path = build(tmp_path / "a.tgz", [*sound(), other])
    with pytest.raises(BundleError, match=r"two different files 'inference_model\.meta'"):
        list_bundle(path)


def test_what_is_missing_is_named(tmp_path):
    path = build(tmp_path / "a.tgz", sound()[1:])
    with pytest.raises(BundleError, match=r"holds no model_flags\.json") as caught:
        list_bundle(path)
    assert caught.value.missing == ["model_flags.json"]
    with pytest.raises(BundleError, match="There is no archive"):
        list_bundle(str(tmp_path / "absent.tgz"))


@pytest.mark.parametrize("keep", [10, 200, -8, -600])
def test_a_cut_archive_is_refused(tmp_path, keep):
    whole = write_bundle(write_model(tmp_path / "m"), str(tmp_path / "a.tgz"), max_size=10**9)
    data = (tmp_path / "a.tgz").read_bytes()
    content = gzip.decompress(data)
    cut = data[:keep] if keep in (10, 200, -8) else gzip.compress(content[:1500])
    (tmp_path / "b.tgz").write_bytes(cut)
    with pytest.raises(BundleError, match=r"not a whole gzip|ends in the middle"):
        extract_bundle(str(tmp_path / "b.tgz"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert whole.members


def test_what_is_no_archive_is_refused(tmp_path):
    plain = tmp_path / "a.tgz"
    plain.write_bytes(b"no gzip")
    with pytest.raises(BundleError, match="not a whole gzip-compressed tar archive"):
        list_bundle(str(plain))
    plain.write_bytes(gzip.compress(b"no tar archive" * 100))
    with pytest.raises(BundleError, match="is no tar archive"):
        list_bundle(str(plain))


def test_the_archives_of_the_originals_are_read(fixtures, tmp_path):
    paths = [fixtures / "tiny/ens/ensemble_T.tgz", *fixtures.glob("google2018/*/model.tgz")]
    assert len(paths) == 6
    for position, path in enumerate(paths):
        bundle = extract_bundle(str(path), str(tmp_path / str(position)))
        assert bundle.readers == ("2018",)
        with tarfile.open(path) as tar:
            for member in bundle.members:
                found = (tmp_path / str(position) / member.name).read_bytes()
                original = tar.extractfile(member.name)
                assert original is not None
                assert found == original.read()
                assert len(found) == member.nbytes
