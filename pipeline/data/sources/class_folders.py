"""A folder with a folder for each class and a text in each file, as IMDB comes and scikit-learn's `load_files` reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from pipeline.config import SplitConfig
from pipeline.data.columns import LABEL, TEXT
from pipeline.data.labels import as_series
from pipeline.data.reading.files import COMPRESSIONS, read_lines
from pipeline.data.reading.tables import FORMATS
from pipeline.data.source import PART_NAMES, Source, SourceKind, SourceTables, file_address, opening, refuse_file_options
from pipeline.errors import DataError, enumerate_some, shorten
from pipeline.hashing import digest, hash_file

_UNLABELLED = ("unsup", "unsupervised", "unlabeled", "unlabelled")
"""Folders of texts without a class, such as IMDB's."""
_LONGEST_ENDING = 8
_STEMS = frozenset(name for names in PART_NAMES.values() for name in names)
_OTHER = frozenset({*FORMATS, *COMPRESSIONS} - {".txt"})  # endings of files that are no single texts


class ClassFolders(SourceKind):
    """A folder with a folder a class; or with one a part, and in each a folder a class."""

    priority = 22

    def claims(self, dataset: str, config: SplitConfig) -> bool:
        """A folder without tables, in which two folders or more hold files of text."""
        with opening(dataset):
            path = Path(dataset).expanduser()
            return path.is_dir() and any(len(classes) > 1 for classes in _find(path).values())

    def find(self, dataset: str, config: SplitConfig) -> Source:
        """The texts of all files; those of one class are in the order of their names.

        Raises:
            DataError: An option names columns or what else a file of one text does not have, a file cannot be opened, or texts
                would be left out.
        """
        refuse_file_options(config, dataset)
        columns = {
            "--text-column": config.text_column,
            "--label-column": config.label_column,
            "--text-pair-column": config.text_pair_column,
            "--group-column": config.group_column,
        }
        if idle := [f"{option} {value}" for option, value in columns.items() if value]:
            raise DataError(
                f"{', '.join(idle)}: --dataset {shorten(dataset)} is a folder with a folder a class, so it has no columns. "
                f"Leave {'it' if len(idle) == 1 else 'them'} out."
            )
        with opening(dataset):
            path = Path(dataset).expanduser()
            parts = _find(path)
            files = [file for classes in parts.values() for folder in classes.values() for file in _files(folder)]
            if messages := [*_refuse_strange(path, files), *_refuse_left_out(path, parts)]:
                raise DataError(*messages)
            sha256 = digest({str(file.relative_to(path)): hash_file(file) for file in files})
        return Source(path.resolve().name, file_address(path), sha256, lambda: _read(parts, config.encoding))


def _refuse_strange(path: Path, files: Sequence[Path]) -> Iterator[str]:
    """What is wrong where a folder of texts holds other files."""
    if strange := [file for file in files if not _is_text(file)]:
        yield (
            f"--dataset {path}: is read as a folder with a folder a class and a text a file, and "
            f"{_enumerate(path, strange)} {'is no text file' if len(strange) == 1 else 'are no text files'} (.txt, or no "
            "ending). Take them out."
        )


def _refuse_left_out(path: Path, parts: Mapping[str, Mapping[str, Path]]) -> Iterator[str]:
    """What is wrong where a folder holds files and is no class, or stands within one: its texts would be left out unsaid."""
    classes = {folder for inner in parts.values() for folder in inner.values()}
    above = {folder.parent for folder in classes}
    folders = [*_subfolders(path).values(), *(inner for folder in above - {path} for inner in _subfolders(folder).values())]
    left_out = [folder for folder in folders if folder not in classes | above]
    within = [inner for folder in classes for inner in _subfolders(folder).values()]
    if files := sorted(filter(None, map(_telling_file, [*left_out, *within]))):
        what = "folders" if len(files) > 1 else "folder"
        yield (
            f"--dataset {path}: is read as a folder with a folder a class and a text a file, and would be read without the "
            f"{what} of {_enumerate(path, files)}. Texts of a class stand right in its folder (.txt, or no ending), with no "
            f"tables and no files called train, test or the like beside them. Change that, or take the {what} out."
        )


def _telling_file(folder: Path) -> Path | None:
    """A file that shows why a folder is no class: its first table, else its first file, or that of a folder within it."""
    mine = next(filter(_is_table, _files(folder)), None) or next(_files(folder), None)
    return mine or next(filter(None, map(_telling_file, _subfolders(folder).values())), None)


def _enumerate(path: Path, files: Sequence[Path]) -> str:
    return enumerate_some([shorten(str(file.relative_to(path))) for file in files], 3)


def _find(path: Path) -> dict[str, dict[str, Path]]:
    """Part -> class -> its folder; empty where the folder is laid out otherwise. One part is called `all`."""
    if _holds_tables(path):
        return {}
    folders = _subfolders(path)
    parts = {
        part: inner
        for part, names in PART_NAMES.items()
        for name, folder in folders.items()
        if name.lower() in names and (inner := _classes(folder))
    }
    if "train" in parts:
        return parts
    return {"all": classes} if (classes := _classes(path)) else {}


def _classes(path: Path) -> dict[str, Path]:
    """Class -> its folder, of the folders that hold files of text and no tables."""
    folders = _subfolders(path).items()
    return {name: folder for name, folder in folders if any(map(_is_text, _files(folder))) and not _holds_tables(folder)}


def _subfolders(path: Path) -> dict[str, Path]:
    entries = sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith((".", "__")))
    return {name: path / name for name in entries}


def _files(folder: Path) -> Iterator[Path]:
    """The files right in a folder that are not hidden, by name."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith("."))
    return (folder / name for name in names)


def _is_text(file: Path) -> bool:
    """Whether a file is called as corpora call a text: `0_9.txt`, `10033`, `00001.7c53336b37003a9286aba55d2945844c`."""
    return file.suffix.lower() in ("", ".txt") or len(file.suffix) > _LONGEST_ENDING


def _holds_tables(folder: Path) -> bool:
    """Whether a folder holds a file that is no single text of a class."""
    return any(map(_is_table, _files(folder)))


def _is_table(file: Path) -> bool:
    """Whether a file has another ending than texts have, or is called as a part, such as `train.txt`."""
    return file.suffix.lower() in _OTHER or file.name.lower().split(".")[0] in _STEMS


def _read(parts: Mapping[str, Mapping[str, Path]], encoding: str | None) -> SourceTables:
    tables = {}
    for part, classes in parts.items():
        texts: list[str] = []
        labels: list[str | None] = []
        for name, folder in classes.items():
            read = [_read_text(file, encoding) for file in _files(folder)]
            texts += read
            labels += [None if name.lower() in _UNLABELLED else name] * len(read)
        columns = {TEXT: pa.chunked_array([texts], pa.large_string()), LABEL: pa.chunked_array([labels], pa.large_string())}
        tables[part] = pd.DataFrame({name: as_series(column) for name, column in columns.items()})
    return SourceTables(tables)


def _read_text(file: Path, encoding: str | None) -> str:
    return "".join(read_lines(file, f"--dataset {file}", encoding))
