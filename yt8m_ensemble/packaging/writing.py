"""Write an inference model as the one archive that the official readers of 2018 and 2019 load.

The same files give the same bytes, whoever packs them, when and where.
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from typing import TYPE_CHECKING, BinaryIO, Final

from yt8m_ensemble import files
from yt8m_ensemble.constants import INFERENCE_MODEL
from yt8m_ensemble.errors import BundleError, BundleTooLargeError
from yt8m_ensemble.packaging.layouts import BUNDLE_FILES, MODEL_FILES, readers_of, size_text
from yt8m_ensemble.values import Bundle, BundleMember

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from yt8m_ensemble.packaging.size_reduction import SizeReduction

_MODE: Final = 0o644
# Weights hardly compress: on random float16 level 6 saves 0.3 % more than level 1.
_COMPRESSION: Final = 1


def write_bundle(
    model_dir: str,
    out: str,
    *,
    max_size: int,
    force: bool = False,
    describe: Callable[[Bundle, str], None] | None = None,
) -> Bundle:
    """Pack an inference model.

    The archive holds `model_flags.json` and the three `inference_model` files at its root, and
    hard-link entries for the three under `inference_model/`. Times, owners and modes are fixed,
    and neither the gzip nor the tar headers hold a name, path or user of this machine. Nothing is
    written unless `check_bundle_size` passes and `out` is free.

    Args:
        model_dir: The directory of the four files.
        out: The archive to write.
        max_size: Most uncompressed bytes that the four files may have together.
        force: Replace an archive that exists.
        describe: Called with what the archive holds and its temporary name, to write what appears
            with it.

    Returns:
        What the archive holds.
    """
    sizes = check_bundle_size(model_dir, out, max_size=max_size)
    with files.atomic_file(out, force=force) as temporary:
        with (
            files.open_binary(temporary, "wb") as raw,
            gzip.GzipFile("", "wb", _COMPRESSION, raw, mtime=0) as compressed,
            tarfile.open(fileobj=compressed, mode="w|", format=tarfile.USTAR_FORMAT) as tar,
        ):
            members = tuple(_add(tar, model_dir, name, nbytes) for name, nbytes in sizes.items())
            names = set(sizes)
            for name in MODEL_FILES:
                link = _header(f"{INFERENCE_MODEL}/{name}")
                link.type, link.linkname = tarfile.LNKTYPE, name
                tar.addfile(link)
                names.add(link.name)
        bundle = Bundle(out, members, readers_of(names))
        if describe:
            describe(bundle, temporary)
    return bundle


def check_bundle_size(
    model_dir: str,
    out: str,
    *,
    max_size: int,
    member_bytes: Mapping[str, int] | None = None,
    plan: Callable[[int], SizeReduction] | None = None,
) -> dict[str, int]:
    """Measure the four files of an inference model and hold them against the limit.

    Args:
        model_dir: The directory of the four files.
        out: The archive's name, for the message.
        max_size: Most uncompressed bytes that the four files may have together.
        member_bytes: Checkpoint bytes by ensemble member, so that a refusal can name the largest.
        plan: Finds how to save a number of bytes, so that a refusal can say it.

    Returns:
        The size of each file by name, in the archive's order.

    Raises:
        BundleError: If one of the four files is missing.
        BundleTooLargeError: If they have more bytes than allowed.
    """
    paths = {name: f"{model_dir}/{name}" for name in BUNDLE_FILES}
    missing = [name for name, path in paths.items() if not files.exists(path)]
    if missing:
        msg = (
            f"'{model_dir}' holds no {', '.join(missing)}. Give the directory that "
            "`yt8m-ens merge --out` wrote."
        )
        raise BundleError(msg, path=model_dir, missing=missing)
    sizes = {name: files.size(path) for name, path in paths.items()}
    total = sum(sizes.values())
    if total > max_size:
        members = dict(member_bytes or {})
        reductions = plan(total - max_size) if plan else None
        msg = (
            f"'{out}' would hold {size_text(total)} of uncompressed files; the limit is "
            f"{size_text(max_size)}."
        )
        if members:
            largest = max(members, key=members.__getitem__)
            msg += f" The largest member is '{largest}' with {size_text(members[largest])}."
        if reductions:
            msg += f" {reductions.sentence()}"
        raise BundleTooLargeError(
            msg,
            path=out,
            size_bytes=total,
            limit_bytes=max_size,
            member_bytes=members,
            reductions=reductions,
        )
    return sizes


class _Hashing:
    """Pass a file's bytes on and hash them on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        return block


def _add(tar: tarfile.TarFile, model_dir: str, name: str, nbytes: int) -> BundleMember:
    header = _header(name)
    header.size = nbytes
    with files.open_binary(f"{model_dir}/{name}") as file:
        hashing = _Hashing(file)
        tar.addfile(header, hashing)
    return BundleMember(name, nbytes, hashing.digest.hexdigest())


def _header(name: str) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.mode = _MODE
    return header
