"""Files as they lie on a disk, compressed or not and in whatever encoding, opened as bytes or as lines of text."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipeline.data.reading.encodings import count_utf8, fitting_encodings, gather_sample, is_mostly_utf8
from pipeline.errors import DataError, shorten

LFS = b"version https://git-lfs"
"""How a pointer begins that Git LFS leaves in place of a file."""
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zip", ".zst")

# UTF-32's little-endian mark begins with that of UTF-16, so it is looked for first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_BLOCK = 2**20
_OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

# Text packs to a third or a tenth; a file that holds hardly more than repetitions fills the memory with one line of them.
_WINDOW = 2**25
_MOST_UNPACKED = 200
"""Bytes that a packed byte may become, over every window of what is unpacked."""
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)


def format_suffix(path: Path, where: str) -> str:
    """What a file holds by its name, such as `.csv` for `a.csv`, `a.CSV.gz` and for an `a.zip` that holds `b.csv`.

    Raises:
        DataError: A zip file that cannot be opened, or holds nothing or files of several formats.
    """
    suffix = path.suffix.lower()
    if suffix not in COMPRESSIONS:
        return suffix
    inner = Path(path.stem).suffix.lower()
    if inner or suffix != ".zip":
        return inner
    names = list_members(path, where)
    suffixes = {Path(name).suffix.lower() for name in names}
    if len(suffixes) != 1:
        raise _not_one_file(names, where)
    return suffixes.pop()


def list_members(path: Path, where: str) -> list[str]:
    """The files in a zip file, without what macOS puts beside them.

    Raises:
        DataError: It cannot be opened.
    """
    with _readable(path, where), open_archive(path) as archive:
        return _members(archive)


def unpack_members(path: Path, where: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """The files in a zip file, each by its name there and where it lies now.

    Args:
        folder: Where they are unpacked to, under names of our own.

    Raises:
        DataError: One cannot be decompressed, or all together unpack to more than they may.
    """
    with _readable(path, where), open_archive(path) as archive:
        budget = UnpackedBytes(where, path.stat().st_size)
        for number, name in enumerate(_members(archive)):
            unpacked = folder / f"{number}{Path(name).suffix.lower()}"
            with open_member(archive, name) as packed, unpacked.open("wb") as file:
                while block := packed.read(_BLOCK):
                    budget.add(len(block))
                    file.write(block)
            yield name, unpacked


@contextlib.contextmanager
def open_bytes(path: Path, where: str) -> Iterator[IO[bytes]]:
    """The file's content, decompressed on the way.

    Raises:
        DataError: It cannot be read or decompressed, or a zip file holds more than one file.
    """
    with _readable(path, where), contextlib.ExitStack() as stack:
        suffix = path.suffix.lower()
        packed = stack.enter_context(path.open("rb"))
        file: Any
        if suffix not in COMPRESSIONS:
            yield packed
            return
        if suffix == ".zip":
            archive = stack.enter_context(open_archive(packed))
            file = open_member(archive, _only_member(archive, where))
        elif suffix == ".zst":
            import pyarrow as pa

            file = pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), "zstd")
        else:
            file = _OPENERS[suffix](packed)
        yield io.BufferedReader(_Unpacking(stack.enter_context(file), packed, where), _BLOCK)


def open_archive(file: Path | IO[bytes]) -> zipfile.ZipFile:
    """A zip file.

    Raises:
        BadZipFile: It is none, or a name in its directory is not in the encoding that it says.
    """
    with _names_are_text():
        return zipfile.ZipFile(file)


def open_member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """What a file in a zip file holds.

    Raises:
        BadZipFile: It cannot be unpacked, or its name, which stands in it a second time, is not in the encoding that it says.
    """
    with _names_are_text():
        return archive.open(name)


@contextlib.contextmanager
def _names_are_text() -> Iterator[None]:
    try:
        yield
    except UnicodeError as error:
        raise zipfile.BadZipFile("the name of a file in it is no text") from error


class _Unpacking(io.RawIOBase):
    """What is unpacked, as long as it does not grow out of hand."""

    def __init__(self, file: IO[bytes], packed: IO[bytes], where: str) -> None:
        self._file, self._packed, self._where = file, packed, where
        self._unpacked = self._taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, or a part of it.

        Raises:
            DataError: A window's worth came out of next to nothing.
        """
        block = self._file.read(len(buffer))
        buffer[: len(block)] = block
        self._unpacked += len(block)
        if self._unpacked > _WINDOW:
            taken = self._packed.tell()
            if self._unpacked > _MOST_UNPACKED * (taken - self._taken):
                raise _unpacks_too_much(self._where)
            self._unpacked, self._taken = 0, taken
        return len(block)


@dataclass
class UnpackedBytes:
    """Counts what comes out of an archive, all of its files together."""

    where: str
    packed: int
    """Size of the archive in bytes."""
    unpacked: int = 0

    def add(self, size: int) -> None:
        """Count a block.

        Raises:
            DataError: More came out than what is packed in a text or a spreadsheet gives.
        """
        self.unpacked += size
        if self.unpacked > _WINDOW and self.unpacked > _MOST_UNPACKED * self.packed:
            raise _unpacks_too_much(self.where)


def _unpacks_too_much(where: str) -> DataError:
    return DataError(
        f"{where}: unpacks to more than {_MOST_UNPACKED} times its size, which no text does. If that is "
        "meant, unpack it and give what it holds."
    )


def read_lines(path: Path, where: str, encoding: str | None = None) -> Iterator[str]:
    r"""The lines of a text file, ends included, one after another; `\n`, `\r` and `\r\n` end a line.

    Args:
        encoding: By default what the byte-order mark says, and UTF-8 without one.

    Raises:
        DataError: The encoding is unknown, or the file is not text in it.
    """
    chosen = encoding or _encoding_by_mark(path, where)
    try:
        with open_bytes(path, where) as file:
            # The codec drops the mark only where its name says so; a mark is never part of the first column's name.
            first = True
            for line in io.TextIOWrapper(file, encoding=chosen, newline=""):
                if "\0" in line:
                    raise _nul_bytes(where)
                yield line.removeprefix("\ufeff") if first else line
                first = False
    except UnicodeError as error:
        raise _undecodable(path, where, chosen, given=encoding is not None) from error


def check_encoding(encoding: str | None) -> None:
    """Refuse an `--encoding` that Python has no text codec for.

    Raises:
        DataError: It has none.
    """
    try:
        if encoding is not None:
            io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    except (LookupError, ValueError) as error:
        raise DataError(
            f"--encoding: got {shorten(str(encoding))!r}, no encoding of text. Give one such as utf-8, latin-1 or cp1252."
        ) from error


def _encoding_by_mark(path: Path, where: str) -> str:
    with open_bytes(path, where) as file:
        start = file.read(4)
    return next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")


@contextlib.contextmanager
def _readable(path: Path, where: str) -> Iterator[None]:
    try:
        yield
    except UnicodeError:  # of the text in it, which whoever reads it as text explains
        raise
    except _DAMAGED as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if path.suffix.lower() in COMPRESSIONS:
            message = f"{where}: cannot be decompressed ({reason}). Is the file whole, and is its ending right?"
        else:
            message = f"{where}: cannot be read ({reason})."
        raise DataError(message) from error


def _only_member(archive: zipfile.ZipFile, where: str) -> str:
    names = _members(archive)
    if len(names) != 1:
        raise _not_one_file(names, where)
    return names[0]


def _members(archive: zipfile.ZipFile) -> list[str]:
    # One without a name holds nothing that anybody packed, and `is_dir` fails on it.
    names = [entry.filename for entry in archive.infolist() if entry.filename and not entry.is_dir()]
    return sorted(name for name in names if not name.startswith("__MACOSX/"))


def _not_one_file(names: Sequence[str], where: str) -> DataError:
    listed = f": {', '.join(map(shorten, names[:5]))}" if names else ""
    return DataError(f"{where}: holds {len(names)} files{listed}. Give a .zip with one file in it, or unpack it.")


def _undecodable(path: Path, where: str, encoding: str, given: bool) -> DataError:
    """What is wrong with a file that is not text in `encoding`: read once more, to find the first such byte."""
    decoder = codecs.getincrementaldecoder(encoding)()
    position = 0
    start: int | None = None
    for block in _blocks(path, where):
        if not given and encoding.startswith("utf-8") and b"\0" in block:
            return _nul_bytes(where)
        if start is None:
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                start = position - pending + error.start
            except UnicodeError:  # of codecs that do not say where
                start = position
        position += len(block)
    place = position if start is None else start  # cut within its last character
    name = encoding if given else encoding.upper().removesuffix("-SIG")
    question = f" Is --encoding {encoding} right?" if given else ""
    return DataError(f"{where}: byte {place} is not {name}.{question} {_advise_encoding(gather_sample(_blocks(path, where)))}")


def _advise_encoding(sample: bytes) -> str:
    """What to do with a file whose bytes are not what they were taken for."""
    if is_mostly_utf8(sample):
        whole, broken = count_utf8(sample)
        damage = f" and {broken:,} place(s) are damaged" if broken else ", and this place is damaged"
        return f"The file is UTF-8 ({whole:,} characters outside ASCII were looked at{damage}): mend what is damaged."
    fitting = fitting_encodings(sample)
    if not fitting:
        return "Its bytes fit no encoding that is known here: save the file as UTF-8, or say what it is with --encoding."
    others = f" (or {', '.join(fitting[1:])})" if fitting[1:] else ""
    return f"Its bytes fit {fitting[0]}{others}: pass --encoding {fitting[0]}, or save the file as UTF-8."


def lfs_pointer(where: str) -> DataError:
    """What is said of a file whose content Git LFS has not fetched."""
    return DataError(f"{where}: is a pointer of Git LFS, not the data. Run `git lfs pull` in its folder, or download the file.")


def _blocks(path: Path, where: str) -> Iterator[bytes]:
    with open_bytes(path, where) as file:
        while block := file.read(_BLOCK):
            yield block


def _nul_bytes(where: str) -> DataError:
    return DataError(
        f"{where}: holds NUL bytes, so it is not a text file in UTF-8. Convert it, "
        "or pass --encoding utf-16-le if it is UTF-16 without a byte-order mark."
    )
