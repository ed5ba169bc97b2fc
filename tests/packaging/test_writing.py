import gzip
import io
import os
import tarfile

import pytest

from tests.packaging.archives import CONTENTS, write_model
from yt8m_ensemble.errors import BundleError, BundleTooLargeError, OutputExistsError
from yt8m_ensemble.packaging import (
    BUNDLE_FILES,
    SizeReduction,
    check_bundle_size,
    list_bundle,
    member_of,
    write_bundle,
)

GB = 1_000_000_000


def write(tmp_path, name="a.tgz", **options):
    model = write_model(tmp_path / "m")
    return write_bundle(model, str(tmp_path / name), **{"max_size": GB, **options})


def test_what_was_written_is_what_is_read(tmp_path):
    bundle = write(tmp_path)
    assert bundle == list_bundle(bundle.path)
    assert bundle.readers == ("2018", "2019")
    assert bundle.nbytes == sum(map(len, CONTENTS.values()))


def test_the_same_files_give_the_same_bytes(tmp_path):
    write(tmp_path, "a.tgz")
    for name in BUNDLE_FILES:
        path = tmp_path / "m" / name
        os.utime(path, (1, 1))
        path.chmod(0o700)
    write(tmp_path, "b.tgz")
    assert (tmp_path / "a.tgz").read_bytes() == (tmp_path / "b.tgz").read_bytes()


def test_no_header_tells_of_this_machine(tmp_path):
    write(tmp_path)
    data = (tmp_path / "a.tgz").read_bytes()
    assert data[:10] == bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, data[8], 255])  # no name, no time
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as tar:
        headers = tar.getmembers()
    assert [h.name for h in headers] == [
        *BUNDLE_FILES,
        *(f"inference_model/{name}" for name in BUNDLE_FILES[1:]),
    ]
    for header in headers:
        facts = (header.mtime, header.uid, header.gid, header.uname, header.gname, header.mode)
        assert facts == (0, 0, 0, "", "", 0o644)
        assert header.pax_headers == {}
    assert [h.linkname for h in headers if h.islnk()] == list(BUNDLE_FILES[1:])


def test_plain_tar_unpacks_what_both_readers_look_for(tmp_path):
    write(tmp_path)
    with tarfile.open(tmp_path / "a.tgz") as tar:
        tar.extractall(tmp_path / "out", filter="data")
    for name, content in CONTENTS.items():
        assert (tmp_path / "out" / name).read_bytes() == content
    for name in BUNDLE_FILES[1:]:
        assert (tmp_path / "out/inference_model" / name).read_bytes() == CONTENTS[name]


def test_too_many_bytes_are_told_before_anything_is_written(tmp_path):
    total = sum(map(len, CONTENTS.values()))
    with pytest.raises(BundleTooLargeError, match=r"would hold 136 B .* the limit is 135 B\.$"):
        write(tmp_path, max_size=total - 1)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    write(tmp_path, max_size=total)


def test_a_refusal_names_the_largest_member_and_what_would_help(tmp_path):
    reductions = SizeReduction(None, ("a",))
    with pytest.raises(BundleTooLargeError) as caught:
        check_bundle_size(
            write_model(tmp_path / "m"),
            "x.tgz",
            max_size=100,
            member_bytes={"a": 5, "netvlad_d": 9},
            plan={36: reductions}.__getitem__,
        )
    assert str(caught.value) == (
        "'x.tgz' would hold 136 B of uncompressed files; the limit is 100 B. The largest member is "
        "'netvlad_d' with 9 B. Merge again: drop a."
    )
    assert caught.value.details == {
        "path": "x.tgz",
        "size_bytes": 136,
        "limit_bytes": 100,
        "member_bytes": {"a": 5, "netvlad_d": 9},
        "reductions": reductions,
    }


def test_a_missing_file_is_named(tmp_path):
    write_model(tmp_path / "m")
    (tmp_path / "m/inference_model.index").unlink()
    with pytest.raises(BundleError, match=r"holds no inference_model\.index") as caught:
        write_bundle(str(tmp_path / "m"), str(tmp_path / "a.tgz"), max_size=GB)
    assert caught.value.missing == ["inference_model.index"]


def test_an_archive_is_not_replaced_unasked(tmp_path):
    write(tmp_path)
    with pytest.raises(OutputExistsError):
        write(tmp_path)
    write(tmp_path, force=True)


@pytest.mark.parametrize(
    ("name", "naming", "member"),
    [
        ("b/tower/w", "scoped", "b"),
        ("mixture_weights", "scoped", None),
        ("tower/w", "seed", "a"),
        ("tower/model1/w", "seed", "b"),
        ("model1/w", "seed", "b"),
        ("global_step", "seed", None),
        ("tower/w", None, None),
    ],
)
def test_tensors_know_their_member(name, naming, member):
    assert member_of(name, ["a", "b"], naming=naming) == member
