"""Prepared data: clean splits on disk with a fingerprint, made once per source content and options."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import pandas as pd
from annotated_types import Len

from pipeline.atomic_io import writing
from pipeline.config import DEFAULT_RATIOS, SplitConfig
from pipeline.data.annotations.copies import settle
from pipeline.data.cleaning import CleanTables, clean
from pipeline.data.columns import LABEL, PAIR, TEXT, Problem
from pipeline.data.label_sets.cleaning import clean_sets
from pipeline.data.label_sets.matrix import holds_sets
from pipeline.data.overlap.pairs import as_texts_of_pairs, measure_pair_overlap
from pipeline.data.overlap.texts import Overlap, measure_overlap
from pipeline.data.quality_checks import (
    audit,
    count_rows,
    note_hidden_test,
    note_imbalance,
    note_mojibake,
    note_unseen_classes,
)
from pipeline.data.scores import as_labels, clean_scores, score_range
from pipeline.data.source import Source, SourceTables, find_source
from pipeline.data.splits import SPLITS, SplitName, split_by_groups, split_officially, split_randomly
from pipeline.errors import DataError, shorten
from pipeline.failures import is_exhausted
from pipeline.hashing import CHECKSUMS, digest, find_damage, seal
from pipeline.json_text import parse_json_as

_FORMAT = 7  # raise it when the same source and options would be prepared differently
_CHUNK = 50_000
_SPLITTERS = {"random": split_randomly, "official": split_officially}
_MANIFEST, _EXAMPLES = "manifest.json", "overlap.json"
_LOG = logging.getLogger(__name__)
_FILES = (CHECKSUMS, _MANIFEST, _EXAMPLES, *(f"{name}.parquet" for name in SPLITS))
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
    """`a/b` -> kind -> rows of b that stand again in a, see `pipeline.data.overlap.texts.KINDS`; `rows` is how many b has."""
    split_sha256: dict[SplitName, str]
    fingerprint: str
    """SHA-256 over classes and all splits: equal content, equal order, equal fingerprint."""
    score_range: Annotated[list[float], Len(2, 2)] | None = None
    """Lowest and highest score of train, where labels are scores."""
    pairs: bool = False
    """Whether an example is a pair of texts."""
    multi: bool = False
    """Whether an example has any number of the classes."""

    @property
    def problem(self) -> Problem:
        """What is to be predicted, and of what."""
        return Problem.of(self.classes, self.score_range, self.pairs, self.multi)


@dataclass(frozen=True)
class PreparedData:
    """Splits on disk. Each is read by itself, so whoever trains never opens the test file."""

    folder: Path
    manifest: Manifest
    dataset: str
    config: SplitConfig
    """What they were prepared from, and how, so that what is damaged can be made anew."""

    def read(self, split: SplitName) -> pd.DataFrame:
        """The rows of a split: `text`, of pairs `text_pair`, and `label`: index of the class, list of indices, or score.

        A file that is damaged is made anew.

        Raises:
            DataError: It is damaged, and the data are no longer what was prepared.
        """
        table = self._rows(split)
        if table is None:
            self._make_anew(f"{split}.parquet")
            table = self._rows(split)
        if table is None:
            raise self._unreadable(f"{split}.parquet")
        return table

    def examples(self) -> Examples:
        """`a/b` -> kind of overlap -> a few texts of b, each with one of a, for people to read; made anew where damaged.

        Raises:
            DataError: The file is damaged, and the data are no longer what was prepared.
        """
        examples = self._read_examples()
        if examples is None:
            self._make_anew(_EXAMPLES)
            examples = self._read_examples()
        if examples is None:
            raise self._unreadable(_EXAMPLES)
        return examples

    def _read_examples(self) -> Examples | None:
        """None where they are damaged, or of another version."""
        if find_damage(self.folder, [_EXAMPLES]):
            return None
        try:
            return cast(Examples, parse_json_as((self.folder / _EXAMPLES).read_text(encoding="utf-8"), Examples))
        except ValueError:
            return None

    def _unreadable(self, name: str) -> DataError:
        return DataError(f"{self.folder}: {name} cannot be read back. Give another --cache-dir.")

    def _rows(self, split: SplitName) -> pd.DataFrame | None:
        """The rows of a split; None where they are not those that the manifest knows."""
        try:
            table = pd.read_parquet(self.folder / f"{split}.parquet")
            return table if hash_rows(table) == self.manifest.split_sha256[split] else None
        except Exception as error:  # of what is no Parquet any more each part of the reader raises its own
            if is_exhausted(error):
                raise
            return None

    def _make_anew(self, damaged: str) -> None:
        _say_damaged(self.folder, damaged)
        again, _ = prepare(self.dataset, self.config, force=True)
        if again.folder != self.folder or again.manifest.fingerprint != self.manifest.fingerprint:
            raise DataError(
                f"{self.folder}: {damaged} was damaged, and the data have changed meanwhile. Run the command again."
            )


def prepare(dataset: str, config: SplitConfig, force: bool = False) -> tuple[PreparedData, bool]:
    """The prepared data, and whether it was there already. If a file of it is gone or damaged, all are made anew.

    The splits themselves are held against their hashes when they are read, so that the test part is not opened here.

    Raises:
        DataError: The data cannot be found, read, or split.
    """
    _check_options(config)
    source = find_source(dataset, config)
    folder = Path(config.cache_dir) / "prepared" / _key(source, config)[:16]
    if not force and _is_whole(folder):
        damaged = find_damage(folder, (_MANIFEST, _EXAMPLES))
        if damaged is None:
            return PreparedData(folder, _open(folder), dataset, config), True
        _say_damaged(folder, damaged)
        force = True
    cut = _cut(source, config)
    splits = cut.splits
    overlap = measure_pair_overlap(splits) if cut.pairs else measure_overlap({name: splits[name][TEXT] for name in splits})
    manifest = _describe(source, cut, overlap)
    with writing(folder, config.cache_dir) as scratch:
        if force or not _is_whole(folder):  # nobody was quicker
            for name in SPLITS:
                splits[name].to_parquet(scratch / f"{name}.parquet", index=False)
            (scratch / _EXAMPLES).write_text(json.dumps(overlap.examples, indent=1), encoding="utf-8")
            (scratch / _MANIFEST).write_text(json.dumps(asdict(manifest), indent=1, ensure_ascii=False), encoding="utf-8")
            seal(scratch)
    return PreparedData(folder, manifest, dataset, config), False


@dataclass(frozen=True)
class _Cut:
    """Clean splits, and what became of the rows that are in none."""

    splits: dict[SplitName, pd.DataFrame]
    classes: tuple[str, ...]
    """Empty where labels are scores."""
    dropped: dict[str, int]
    notes: list[str]
    score_range: list[float] | None
    multi: bool

    @property
    def pairs(self) -> bool:
        """Whether an example is a pair of texts."""
        return PAIR in self.splits["train"]


def _check_options(config: SplitConfig) -> None:
    if config.group_column and config.split != "grouped":
        raise DataError(
            f"--group-column {config.group_column}: --split {config.split} does not look at groups. "
            "Add --split grouped, or leave --group-column out."
        )
    _check_label_options(config)
    if config.labels and config.label_type == "score":
        raise DataError(f"--labels {','.join(config.labels)}: names classes, and --label-type score says that there are none.")


def _check_label_options(config: SplitConfig) -> None:
    columns, separator = config.label_columns, config.label_separator
    given = f"--label-columns {','.join(columns)}" if columns else f"--label-separator {separator}"
    if (columns or separator) and config.label_type != "multi":
        raise DataError(f"{given}: is for texts with any number of labels. Add --label-type multi, or leave it out.")
    others = {"--label-column": config.label_column, "--label-separator": separator, "--labels": ",".join(config.labels)}
    if columns and (named := next((option for option, value in others.items() if value), None)):
        raise DataError(
            f"{given}: names a column for each label, so {named} {others[named]} says nothing. Leave one of them out."
        )
    if columns and (len(columns) < 2 or len(set(columns)) < len(columns)):
        raise DataError(f"{given}: needs two labels or more, each once. Name every column of 0 and 1.")


def _key(source: Source, config: SplitConfig) -> str:
    """Equal where the same content would be prepared in the same way."""
    return digest(
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
            # Absent where they say nothing, so that data prepared before there were pairs and scores is found.
            **({"text_pair_column": config.text_pair_column} if config.text_pair_column else {}),
            **({"label_type": config.label_type} if config.label_type != "class" else {}),
            **({"label_separator": config.label_separator} if config.label_separator else {}),
            **({"label_columns": list(config.label_columns)} if config.label_columns else {}),
            **({"delimiter": config.delimiter} if config.delimiter else {}),
            **({"no_header": True} if config.no_header else {}),
            **({"sheet": config.sheet} if config.sheet else {}),
            **({"annotators": config.annotators} if config.annotators else {}),
            # Older versions read these otherwise: what they prepared is not found under this.
            **({"groups": "stripped"} if config.group_column else {}),
            **({"votes": "of numbers"} if config.annotators else {}),
            **({"empty_cells": "no labels"} if config.label_type == "multi" and not config.label_columns else {}),
            # So that data prepared before there was a choice are found again.
            **({} if config.split_ratios == DEFAULT_RATIOS else {"split_ratios": list(config.split_ratios)}),
        }
    )


def _cut(source: Source, config: SplitConfig) -> _Cut:
    """Read the source, clean it and split it.

    Raises:
        DataError: It cannot be read, cleaned or split.
    """
    where, of_scores = source.option, config.label_type == "score"
    settled = settle(source.read(), config.annotators, where, config.label_type, config.labels)
    tables = clean_labels(settled.tables, where, config)
    notes = [*tables.notes, *settled.notes, *note_hidden_test(tables, config, where)]
    dropped: dict[str, int] = {}
    if config.split == "grouped":
        splits, dropped = split_by_groups(tables.parts, tables.classes, config.split_seed, where, config.split_ratios)
    else:
        splits = _SPLITTERS[config.split](tables.parts, tables.classes, config.split_seed, where, config.split_ratios)
    tables.parts.clear()  # the splits are copies of what is needed of them
    if of_scores:
        splits = {name: as_labels(table) for name, table in splits.items()}
    classes = () if of_scores else tables.classes
    return _Cut(
        splits=splits,
        classes=classes,
        dropped=tables.dropped | settled.dropped | dropped,
        notes=[
            *notes,
            *note_unseen_classes(splits, classes),
            *note_imbalance(splits["train"], classes),
            *note_mojibake(splits["train"][TEXT], config.encoding),
        ],
        score_range=list(score_range(splits["train"][LABEL])) if of_scores else None,
        multi=config.label_type == "multi",
    )


def clean_labels(tables: SourceTables, where: str, config: SplitConfig, known: Collection[str] | None = None) -> CleanTables:
    """The parts without rows that lack text or label, with labels as `--label-type` says.

    Args:
        known: The classes of the model that is to be asked, if there is one; see `clean`.

    Raises:
        DataError: They are none, or nothing is left.
    """
    if config.label_type == "score":
        return clean_scores(tables, where)
    if config.label_type == "multi":
        return clean_sets(tables, where, config.labels, config.label_separator, known)
    return clean(tables, where, config.labels, known)


def _describe(source: Source, cut: _Cut, overlap: Overlap) -> Manifest:
    """Count, audit and hash the splits."""
    splits, classes = cut.splits, list(cut.classes)
    split_sha256 = {name: hash_rows(table) for name, table in splits.items()}
    return Manifest(
        name=source.name,
        address=source.address,
        classes=classes,
        rows={name: len(table) for name, table in splits.items()},
        rows_by_class={name: count_rows(table[LABEL], len(classes)) for name, table in splits.items()},
        dropped=cut.dropped,
        notes=cut.notes,
        audit=audit({name: as_texts_of_pairs(table) for name, table in splits.items()} if cut.pairs else splits),
        overlap=overlap.counts,
        split_sha256=split_sha256,
        fingerprint=digest({"classes": classes, "splits": split_sha256}),
        score_range=cut.score_range,
        pairs=cut.pairs,
        multi=cut.multi,
    )


def _is_whole(folder: Path) -> bool:
    return all((folder / file).is_file() for file in _FILES)


def _say_damaged(folder: Path, name: str) -> None:
    _LOG.warning("Prepared data are damaged (%s): they are made anew.", folder / name)


def _open(folder: Path) -> Manifest:
    try:
        manifest: Manifest = parse_json_as((folder / _MANIFEST).read_text(encoding="utf-8"), Manifest)
        if not set(SPLITS) == manifest.rows.keys() == manifest.rows_by_class.keys() == manifest.split_sha256.keys():
            raise ValueError("it does not hold every part")
        return manifest
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder}: {_MANIFEST} was written by another version ({shorten(str(error), 300)}). Delete the folder."
        ) from error


def hash_rows(table: pd.DataFrame) -> str:
    """SHA-256 of label, or labels, and texts of every row in order; lengths stand before texts, so no two tables read alike."""
    sha = hashlib.sha256()
    for start in range(0, len(table), _CHUNK):  # not all texts as Python objects at once
        chunk = table.iloc[start : start + _CHUNK]
        columns = [chunk[name].tolist() for name in (TEXT, PAIR) if name in chunk]
        labels = chunk[LABEL].tolist()
        if holds_sets(chunk[LABEL]):
            labels = [[int(label) for label in row] for row in labels]
        for label, *texts in zip(labels, *columns, strict=True):
            sha.update(f"{label}:".encode())
            for text in texts:
                encoded = text.encode("utf-8", "surrogatepass")
                sha.update(f"{len(encoded)}:".encode())
                sha.update(encoded)
    return sha.hexdigest()
