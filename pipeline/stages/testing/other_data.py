"""Read labelled data that a model was not trained on, for the classes or scores that it knows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.config import SplitConfig
from pipeline.data.annotations.answers import leave_out
from pipeline.data.annotations.copies import settle
from pipeline.data.cleaning import encode_labels, is_hidden, is_number, strip_texts
from pipeline.data.columns import LABEL, PAIR, TEXT, Problem
from pipeline.data.label_sets.cleaning import names_of
from pipeline.data.label_sets.matrix import holds_sets, rename_labels
from pipeline.data.prepared import PreparedData, clean_labels, hash_rows, prepare
from pipeline.data.quality_checks import count_rows, describe_dropped
from pipeline.data.scores import as_labels
from pipeline.data.source import SourceTables, find_source
from pipeline.data.splits import SPLITS, SplitName
from pipeline.errors import ConfigError, DataError, enumerate_some, shorten
from pipeline.hashing import digest
from pipeline.tracking.runs import RunLogger

Part = Literal["train", "validation", "test", "all"]


@dataclass(frozen=True)
class OtherData:
    """Rows that a model can be asked about."""

    name: str
    address: str
    part: Part
    table: pd.DataFrame
    """`text`, of pairs `text_pair`, and `label`: the index of one of the model's classes, or the score."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Rows of the data that are left out, by reason."""

    @property
    def sha256(self) -> str:
        """Of texts and labels in their order."""
        return hash_rows(self.table)

    def fingerprint(self, classes: Sequence[str]) -> str:
        """Equal where a model that knows these classes would be asked the same."""
        return digest({"classes": list(classes), "part": self.part, "rows": self.sha256})

    def log(self, logger: RunLogger) -> None:
        """Tell a run which rows go in."""
        context = "training" if self.part == "train" else self.part
        logger.log_dataset(f"{self.name}-{self.part}", self.address, self.sha256, context)

    def describe(self, used: int) -> str:
        """`500 of 872 texts of the test part of reviews.csv`."""
        where = "" if self.part == "all" else f"the {self.part} part of "
        return f"{describe_amount(used, len(self.table), PAIR in self.table)} of {where}{self.name}"

    def describe_absent(self, table: pd.DataFrame, classes: Sequence[str]) -> Iterator[str]:
        """What must be said of rows that are not there: those left out, and of macro scores where some classes have none.

        Args:
            table: The rows that are scored.
            classes: Those of the model; none where labels are scores.
        """
        yield from describe_dropped(self.dropped, f" of {self.name}")
        if absent := [name for name, rows in zip(classes, count_rows(table[LABEL], len(classes)), strict=True) if not rows]:
            yield (
                f"No row is of {enumerate_some(absent)}, which counts as 0 in macro precision, recall and F1: look at accuracy "
                "and at the scores by class."
            )


@dataclass(frozen=True)
class Naming:
    """How the classes of the data are found among those of the model."""

    classes: tuple[str, ...]
    """The model's."""
    listed: tuple[str, ...] = ()
    """The data's, where they were listed in the order of the model's."""

    def check(self) -> None:
        """Hold that as many classes are listed as the model has.

        Raises:
            DataError: They are not.
        """
        if self.listed and len(self.listed) != len(self.classes):
            raise DataError(
                f"--labels {enumerate_some(self.listed)}: names {len(self.listed)} classes, but the model has "
                f"{len(self.classes)}: {enumerate_some(self.classes)}. Name the data's for each, in this order."
            )

    def numbers(self, theirs: Sequence[str], used: Sequence[int], dataset: str) -> list[int]:
        """Index of a class of the data -> index of the model's; -1 for those that no row has and the model does not know.

        Names are matched as they are, else without regard to capitals; listed ones by their place, unless they are the
        model's own.

        Args:
            used: Indices of the classes that rows have.

        Raises:
            DataError: A row has a class that the model does not know.
        """
        if self.listed:
            return [self.listed.index(name) for name in theirs]
        exact = {name: place for place, name in enumerate(self.classes)}
        folded: dict[str, list[int]] = {}
        for place, name in enumerate(self.classes):
            folded.setdefault(name.casefold(), []).append(place)

        def find(name: str) -> int:
            alike = folded.get(name.casefold(), [])
            return exact.get(name, alike[0] if len(alike) == 1 else -1)

        indices = [find(name) for name in theirs]
        if strange := [theirs[number] for number in used if indices[number] < 0]:
            raise DataError(
                f"--dataset {shorten(dataset)}: has the class{'es' if len(strange) > 1 else ''} "
                f"{enumerate_some(strange)}, but the model knows {enumerate_some(self.classes)}. Leave such rows out, or give "
                f"--labels, the data's classes in the order of the model's."
            )
        return indices


def describe_amount(used: int, there: int, pairs: bool = False) -> str:
    """`872 texts`, or `500 of 872 texts` where not all were used."""
    things = "pairs" if pairs else "texts"
    return f"{used:,} {things}" if used == there else f"{used:,} of {there:,} {things}"


def read_other(dataset: str, config: SplitConfig, part: Part | None, problem: Problem, naming: Naming) -> OtherData:
    """The rows of data in the terms of a model.

    Without `part` these are all rows, or of data that come in parts the test part; where that is lacking or its labels are
    hidden, validation stands for it. A part that the data do not come with is cut as for training.

    Args:
        problem: What the model predicts, and of what.

    Raises:
        DataError: The data cannot be found, read or cut, or have classes that the model does not know.
        ConfigError: They are to be read as other things than the model was trained on.
    """
    naming.check()
    typed_labels = config.labels
    config = dataclasses.replace(_adapted(config, problem), labels=naming.listed)
    source = find_source(dataset, config)
    tables = source.read()
    if config.text_pair_column is None and problem.pairs:
        raise ConfigError(f"--dataset {shorten(dataset)}: the model was trained on pairs. Give --text-pair-column.")
    typed = "split" in config.explicit or config.split != "random"
    there = {name for name in tables.parts if name != "test" or not _hides_labels(tables, source.option, config, problem)}
    if part is None:
        part = "test" if "test" in there or {"train", "validation"} <= there else "all"
    if part == "test" and "test" not in there and "validation" in there and not typed:
        part = "validation"  # which is the test where the data have no other
    if part == "all" or (part in there and not typed):
        chosen = {name: table for name, table in tables.parts.items() if part in ("all", name)}
        rows, theirs, dropped = _clean(dataclasses.replace(tables, parts=chosen), source.option, config, problem)
        table = pd.concat([rows[name] for name in (*SPLITS, "all") if name in rows], ignore_index=True)
    else:
        if part == "validation" and "test" in there and not typed:  # of data that come with a test part, it is cut from train
            config = dataclasses.replace(config, split="official")
        # The model's own classes are matched by name, so not listed; but numbers with a fraction are refused unless they are.
        numbers = typed_labels if all(map(is_number, typed_labels)) else ()
        prepared, _ = prepare(dataset, dataclasses.replace(config, labels=naming.listed or numbers))
        table, theirs, dropped = prepared.read(part), tuple(prepared.manifest.classes), prepared.manifest.dropped
    table = table[[name for name in (TEXT, PAIR, LABEL) if name in table]].reset_index(drop=True)
    if not problem.score_range:
        used = np.flatnonzero(count_rows(table[LABEL], len(theirs))).tolist()
        table[LABEL] = _renumber(table[LABEL], naming.numbers(theirs, used, dataset))
    return OtherData(source.name, source.address, part, table, dropped)


def own_rows(home: PreparedData, part: SplitName, classes: Sequence[str]) -> OtherData:
    """A part of what a model was trained on, in the order of its classes."""
    manifest, table = home.manifest, home.read(part)
    if classes:
        table[LABEL] = _renumber(table[LABEL], [list(classes).index(name) for name in manifest.classes])
    return OtherData(manifest.name, manifest.address, part, table)


def _renumber(labels: pd.Series, numbers: Sequence[int]) -> pd.Series:
    """Indices of classes, or sets of them, with each replaced by the one that stands in its place."""
    if holds_sets(labels):
        return rename_labels(labels, numbers)
    return pd.Series(np.array(numbers, np.int64)[labels.to_numpy()])


def _adapted(config: SplitConfig, problem: Problem) -> SplitConfig:
    """The options of the data, with what the model alone decides."""
    label_type = problem.label_type
    if "label_type" in config.explicit and config.label_type != label_type:
        raise ConfigError(f"--label-type {config.label_type}: the model was trained on {problem.describe()}. Leave it out.")
    if config.text_pair_column and not problem.pairs:
        raise ConfigError(
            f"--text-pair-column {config.text_pair_column}: the model was trained on {problem.describe()}. Leave it out."
        )
    return dataclasses.replace(config, label_type=label_type)


def _hides_labels(tables: SourceTables, where: str, config: SplitConfig, problem: Problem) -> bool:
    """Whether the test part has labels, and all of them are -1: hidden, unless the model knows it as a class."""
    if any(map(is_hidden, config.labels or (() if tables.classes else problem.classes))):
        return False
    table, _ = leave_out(tables.parts["test"])
    column, (_, no_text) = encode_labels(table[LABEL], where, "test"), strip_texts(table, where)
    given = {column.names[code] for code in np.unique(column.codes[~no_text])} - {""}
    sets = [names_of(label) if problem.multi else [label] for label in given]
    return bool(sets) and all(len(labels) == 1 and is_hidden(labels[0]) for labels in sets)


def _clean(
    tables: SourceTables, where: str, config: SplitConfig, problem: Problem
) -> tuple[Mapping[str, pd.DataFrame], tuple[str, ...], dict[str, int]]:
    """The parts without rows that lack text or label, the names of their classes, and how many rows are left out, by reason."""
    settled = settle(tables, config.annotators, where, config.label_type, config.labels)
    # That the labels are classes is known of the model, so one class alone will do, or many in few rows.
    cleaned = clean_labels(settled.tables, where, config, problem.classes)
    dropped = cleaned.dropped | settled.dropped
    if config.label_type == "score":
        return {name: as_labels(table) for name, table in cleaned.parts.items()}, (), dropped
    return cleaned.parts, cleaned.classes, dropped


def count_repeated(table: pd.DataFrame, home: PreparedData) -> int:
    """How many rows have texts that stand word for word in the train part of what a model was trained on."""
    names = [name for name in (TEXT, PAIR) if name in table]
    trained = set(home.read("train")[names].itertuples(index=False, name=None))
    return sum(row in trained for row in table[names].itertuples(index=False, name=None))
