"""Prepared data: clean splits on disk with a fingerprint, made once per source content and options."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from pipeline.config import SplitConfig
from pipeline.data.audit import audit
from pipeline.data.cleaning import clean
from pipeline.data.notes import note_hidden_test, note_unseen_classes
from pipeline.data.overlap import measure_overlap
from pipeline.data.scratch import writing
from pipeline.data.sources import LABEL, TEXT, find_source
from pipeline.data.splits import DEFAULT_RATIOS, SPLITS, SplitName, split_by_groups, split_officially, split_randomly
from pipeline.errors import DataError
from pipeline.hashing import digest

_FORMAT = 5  # raise it when the same source and options would be prepared differently
_CHUNK = 50_000
_SPLITTERS = {"random": split_randomly, "official": split_officially}
_MANIFEST, _EXAMPLES = "manifest.json", "overlap.json"
_FILES = (_MANIFEST, _EXAMPLES, *(f"{name}.parquet" for name in SPLITS))
Examples = dict[str, dict[str, list[dict[str, str]]]]


@dataclass(frozen=True)
class Manifest:
    """What is known of prepared data without reading it."""

    name: str
    address: str
    classes: list[str]
    rows: dict[SplitName, int]
    rows_by_class: dict[SplitName, list[int]]
    dropped: dict[str, int]
    notes: list[str]
    """What a user should know of how the data were used, in sentences."""
    audit: dict[str, Any]
    overlap: dict[str, dict[str, int]]
    """`a/b` -> kind -> rows of b that stand again in a, see `pipeline.data.overlap.KINDS`; `rows` is how many b has."""
    split_sha256: dict[SplitName, str]
    fingerprint: str
    """SHA-256 over classes and all splits: equal content, equal order, equal fingerprint."""


@dataclass(frozen=True)
class PreparedData:
    """Splits on disk. Each is read by itself, so whoever trains never opens the test file."""

    folder: Path
    manifest: Manifest

    def read(self, split: SplitName) -> pd.DataFrame:
        """The rows of a split: `text` and `label`, the index of the class.

        Raises:
            DataError: The file is not what was prepared.
        """
        try:
            table = pd.read_parquet(self.folder / f"{split}.parquet")
        except (OSError, ValueError) as error:
            raise DataError(f"{self.folder}: {split}.parquet cannot be read ({error}). Delete the folder.") from error
        if _hash_rows(table) != self.manifest.split_sha256[split]:
            raise DataError(f"{self.folder}: {split}.parquet was changed after it was prepared. Delete the folder.")
        return table

    def examples(self) -> Examples:
        """`a/b` -> kind of overlap -> a few texts of b, each with one of a, for people to read.

        Raises:
            DataError: The file cannot be read.
        """
        try:
            return cast(Examples, json.loads((self.folder / _EXAMPLES).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(f"{self.folder}: {_EXAMPLES} cannot be read ({error}). Delete the folder.") from error


def prepare(dataset: str, config: SplitConfig, force: bool = False) -> tuple[PreparedData, bool]:
    """The prepared data, and whether it was there already. If a file of it is gone, all are made anew.

    Raises:
        DataError: The data cannot be found, read, or split.
    """
    if config.group_column and config.split != "grouped":
        raise DataError(
            f"--group-column {config.group_column}: --split {config.split} does not look at groups. "
            "Add --split grouped, or leave --group-column out."
        )
    source = find_source(dataset, config)
    key = digest(
        {
            "format": _FORMAT,
            "source": source.sha256,
            "address": source.address,
            "text_column": config.text_column,
            "label_column": config.label_column,
            "group_column": config.group_column,
            "config_name": config.dataset_config_name,
            "encoding": config.encoding,
            "labels": list(config.labels),
            "split": config.split,
            "split_seed": config.split_seed,
            # So that data prepared before there was a choice are found again.
            **({} if config.split_ratios == DEFAULT_RATIOS else {"split_ratios": list(config.split_ratios)}),
        }
    )
    folder = Path(config.cache_dir) / "prepared" / key[:16]
    if not force and all((folder / file).is_file() for file in _FILES):
        return _open(folder), True
    where = source.option
    tables = clean(source.read(), where, config.labels)
    notes = note_hidden_test(tables, config, where)
    dropped: dict[str, int] = {}
    if config.split == "grouped":
        splits, dropped = split_by_groups(tables.parts, tables.classes, config.split_seed, where, config.split_ratios)
    else:
        splits = _SPLITTERS[config.split](tables.parts, tables.classes, config.split_seed, where, config.split_ratios)
    tables.parts.clear()  # the splits are copies of what is needed of them
    overlap = measure_overlap({name: table[TEXT] for name, table in splits.items()})
    split_sha256 = {name: _hash_rows(table) for name, table in splits.items()}
    manifest = Manifest(
        name=source.name,
        address=source.address,
        classes=list(tables.classes),
        rows={name: len(table) for name, table in splits.items()},
        rows_by_class={
            name: np.bincount(table[LABEL], minlength=len(tables.classes)).tolist() for name, table in splits.items()
        },
        dropped=tables.dropped | dropped,
        notes=[*notes, *note_unseen_classes(splits, tables.classes)],
        audit=audit(splits),
        overlap=overlap.counts,
        split_sha256=split_sha256,
        fingerprint=digest({"classes": list(tables.classes), "splits": split_sha256}),
    )
    with writing(folder, config.cache_dir) as scratch:
        for name in SPLITS:
            splits[name].to_parquet(scratch / f"{name}.parquet", index=False)
        (scratch / _EXAMPLES).write_text(json.dumps(overlap.examples, indent=1), encoding="utf-8")
        (scratch / _MANIFEST).write_text(json.dumps(asdict(manifest), indent=1, ensure_ascii=False), encoding="utf-8")
    return PreparedData(folder, manifest), False


def _open(folder: Path) -> PreparedData:
    try:
        manifest = Manifest(**json.loads((folder / _MANIFEST).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{folder}: {_MANIFEST} is damaged ({error}). Delete the folder.") from error
    return PreparedData(folder, manifest)


def _hash_rows(table: pd.DataFrame) -> str:
    """SHA-256 of label and text of every row in order; lengths stand before texts, so no two tables read alike."""
    sha = hashlib.sha256()
    for start in range(0, len(table), _CHUNK):  # not all texts as Python objects at once
        chunk = table.iloc[start : start + _CHUNK]
        for text, label in zip(chunk[TEXT].tolist(), chunk[LABEL].tolist(), strict=True):
            encoded = text.encode("utf-8", "surrogatepass")
            sha.update(f"{label}:{len(encoded)}:".encode())
            sha.update(encoded)
    return sha.hexdigest()
