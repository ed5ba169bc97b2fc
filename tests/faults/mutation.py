"""Small changes of valid bytes, also below the checksums that a format carries."""

import io
import zipfile

SPECIAL = (b"", b"\xff", b"\xef\xbb\xbf", b"\x00", b'"', b",", b"\r\n", b"-1", b"nan", b"1e999",
           b"99999999999999999999", b"{}", b"[]", b"null", b"\xc3\x28", b"\x7f\xff\xff\xff",
           b"\xff\xff\xff\xff\xff\xff\xff\x7f")  # fmt: skip


def mutate(content, rng):
    """Return bytes with one to three places changed."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 2, 4, 8, 64)))
        kind = rng.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at:end] = rng.randbytes(end - at)
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = data[rng.randrange(len(data) + 1) :][: rng.choice((1, 8, 100))]
        elif kind == 4:
            data[at : at + rng.choice((0, 1, 4))] = rng.choice(SPECIAL)
        elif kind == 5:
            data[at:end] = bytes(end - at)
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data)


def mutate_zip(content, rng):
    """Change one member of a zip archive, or its name; its checksum is right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    inner = members.pop(name)
    if rng.random() < 0.2:
        name = mutate(name.encode(), rng).decode("latin-1").strip("\0") or "x"
    else:
        inner = mutate(inner, rng)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for key, value in {**members, name: inner}.items():
            archive.writestr(key, value)
    return out.getvalue()


def mutate_gzip(content, rng):
    """Change the tar archive inside; the checksum of the compression is right."""
    import gzip

    return gzip.compress(mutate(gzip.decompress(content), rng), mtime=0)


def mutate_record(content, rng):
    """Change one record of a TFRecord file; its checksums are right."""
    records, at = [], 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 8], "little")
        records.append(content[at + 12 : at + 12 + length])
        at += length + 16
    at = rng.randrange(len(records))
    records[at] = mutate(records[at], rng)
    return b"".join(framed(record) for record in records)


def framed(record):
    """Return a record between its length and checksums, as TFRecord files hold it."""
    from yt8m_ensemble.checkpoints.checksums import crc32c, mask

    length = len(record).to_bytes(8, "little")
    sums = [mask(crc32c(part)).to_bytes(4, "little") for part in (length, record)]
    return length + sums[0] + record + sums[1]
