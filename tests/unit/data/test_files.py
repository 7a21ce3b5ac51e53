import bz2
import gzip
import io
import lzma
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.data.reading.tables import read_table
from pipeline.errors import DataError

MIB = 2**20


def _zip(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", content)
    return file.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "zip": _zip,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lambda content: lzma.compress(content, preset=0),
    "zst": lambda content: pa.compress(content, "zstd", asbytes=True),
}


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize(
    ("name", "start", "fill"),
    [
        ("a.csv", b"text,label\n", b"\0"),
        ("a.csv", b'text,label\n"', b"a" * 1023 + b"\n"),
        ("a.jsonl", b"", b" "),
        ("a.parquet", b"PAR1", b"\0"),
    ],
)
def test_what_unpacks_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, packed: str, name: str, start: bytes, fill: bytes
) -> None:
    path = tmp_path / f"{name}.{packed}"
    path.write_bytes(PACK[packed](start + fill * (96 * MIB // len(fill))))
    assert path.stat().st_size < MIB
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="unpacks to more than 200 times its size, which no text does"):
            read_table(path)
        assert tracemalloc.get_traced_memory()[1] < 150 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("packed", PACK)
def test_packed_text_is_read_however_long_its_lines_are(tmp_path: Path, packed: str) -> None:
    words = " ".join(f"word{number}" for number in range(200_000))
    rows = "".join(f"{words} {row},{row % 2}\n" for row in range(20))
    path = tmp_path / f"a.csv.{packed}"
    path.write_bytes(PACK[packed](f"text,label\n{rows}".encode()))
    table = read_table(path)
    assert table["text"].tolist() == [f"{words} {row}" for row in range(20)]
