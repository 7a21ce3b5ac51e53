"""Which columns hold text and label, and what is to be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from pipeline.config import ReadingConfig, SplitConfig
from pipeline.data.annotations.answers import ANNOTATION, RESPONSES, find_annotation_column, find_answer_column
from pipeline.data.builder import Chosen
from pipeline.data.label_sets.cells import LabelSets
from pipeline.errors import DataError, enumerate_some

Input = str | tuple[str, str]
"""What one prediction is made of: a text, or the two texts of a pair."""


@dataclass(frozen=True)
class Problem:
    """Classes, sets of labels, or scores, of texts or of pairs of texts."""

    classes: tuple[str, ...]
    """In the order of their indices; empty where labels are scores."""
    score_range: tuple[float, float] | None = None
    """The scores that 0 and 1 stand for while training; None where labels are classes."""
    pairs: bool = False
    """Whether an example is a pair of texts."""
    multi: bool = False
    """Whether an example has any number of the classes, which are then called labels."""

    @classmethod
    def of(cls, classes: Sequence[str], score_range: Sequence[float] | None, pairs: bool, multi: bool = False) -> Problem:
        """The problem that values from a file describe."""
        return cls(tuple(classes), (score_range[0], score_range[1]) if score_range else None, pairs, multi)

    @property
    def label_type(self) -> Literal["class", "multi", "score"]:
        """As `--label-type` has it."""
        return "multi" if self.multi else "score" if self.score_range else "class"

    def describe(self) -> str:
        """In a few words."""
        kinds = {"class": f"{len(self.classes)} classes", "multi": f"any of {len(self.classes)} labels", "score": "scores"}
        what = kinds[self.label_type]
        return f"{what} of {'pairs of texts' if self.pairs else 'single texts'}"


TEXT, PAIR, LABEL, GROUP = "text", "text_pair", "label", "group"
TEXT_NAMES = ("text", "sentence", "content", "review")
LABEL_NAMES = ("label", "labels", "class", "target", "sentiment")
FIRST_TEXT_NAMES = ("sentence1", "text1", "question1", "premise")
"""Looked for as well where a column for the second text was named."""
SCORE_NAMES = ("score", "similarity")
"""Looked for as well where labels are scores."""
PRODIGY_CHOICE = "accept"
"""Where Prodigy writes what was chosen of `options`."""


def find_label_column(columns: Sequence[str], config: SplitConfig) -> str | None:
    """The column of the labels, or the first of those that hold one each; None where it is not there."""
    if config.label_columns:
        return next((column for column in config.label_columns if column in columns), None)
    if config.label_column:
        return config.label_column if config.label_column in columns else None
    column = find_column(columns, _label_names(config))
    if column is None and {PRODIGY_CHOICE, "options"} <= set(columns):
        return PRODIGY_CHOICE
    responses = [name for name in columns if name.endswith(RESPONSES)]
    return responses[0] if column is None and len(responses) == 1 else column


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
    for (option, column), (other, same) in combinations(options.items(), 2):
        if column and column == same:
            raise DataError(f"{option} and {other} are both {column!r}. Name two columns.")
    messages, roles = [], {}
    there = [column for column in columns if column]
    listed = enumerate_some(there) + (
        f", and {len(columns) - len(there):,} without a name" if len(there) < len(columns) else ""
    )
    text, text_names = find_text_column(columns, config), _text_names(config)
    for role, given, column, names in (
        (TEXT, config.text_column, text, text_names),
        (LABEL, config.label_column, find_label_column(columns, config), _label_names(config)),
    ):
        if column is None:
            wanted = f"column {given!r}" if given else f"a {role} column ({', '.join(names)})"
            option = f"--{role}-column"
            if role == LABEL and config.label_columns:
                wanted, option = f"column {config.label_columns[0]!r}", "--label-columns"
            messages.append(f"{where}: {wanted} not found. Columns: {listed}. Pass {option}.")
        else:
            roles[role] = column
    if LABEL in roles and (missing := [name for name in config.label_columns if name not in columns]):
        messages.append(f"{where}: column {missing[0]!r} not found. Columns: {listed}. Change --label-columns.")
    if config.text_pair_column in columns:
        roles[PAIR] = str(config.text_pair_column)
    elif config.text_pair_column:
        messages.append(f"{where}: column {config.text_pair_column!r} not found. Columns: {listed}. Change --text-pair-column.")
    if config.group_column in columns:
        roles[GROUP] = str(config.group_column)
    elif config.group_column:
        messages.append(f"{where}: column {config.group_column!r} not found. Columns: {listed}. Change --group-column.")
    if messages:
        raise DataError(*messages)
    if roles[TEXT] in (roles[LABEL], *config.label_columns):
        messages.append(
            f"{where}: column {roles[TEXT]!r} cannot be both text and label. Pass --text-column and --label-column."
        )
    elif PAIR in roles and roles[PAIR] in (roles[TEXT], roles[LABEL]):
        role = "first and second text" if roles[PAIR] == roles[TEXT] else "second text and label"
        messages.append(
            f"{where}: column {roles[PAIR]!r} cannot be both {role}. Pass --text-column, --text-pair-column and --label-column."
        )
    if messages:
        raise DataError(*messages)
    return roles


def find_text_column(columns: Sequence[str], config: ReadingConfig) -> str | None:
    """The column of the texts, of pairs the first ones; None where it is not there."""
    if config.text_column:
        return config.text_column if config.text_column in columns else None
    return find_column(columns, _text_names(config))


def _text_names(config: ReadingConfig) -> tuple[str, ...]:
    return (*(FIRST_TEXT_NAMES if config.text_pair_column else ()), *TEXT_NAMES)


def choose_columns(columns: Sequence[str], where: str, config: SplitConfig) -> tuple[dict[str, str], Chosen]:
    """Role -> column, and what to read of a table.

    Raises:
        DataError: A column was not found.
    """
    roles = find_columns(columns, where, config)
    answer = find_answer_column(columns, roles[LABEL])
    used = list(dict.fromkeys((*roles.values(), *config.label_columns)))  # the text itself may be the group
    annotation = find_annotation_column(columns, roles[LABEL])
    return roles, Chosen(
        used,
        None if config.label_columns else roles[LABEL],
        None if answer in used else answer,
        None if {annotation, ANNOTATION} & {*used} else annotation,
        LabelSets(config.label_separator) if config.label_type == "multi" and not config.label_columns else None,
    )


def _label_names(config: SplitConfig) -> tuple[str, ...]:
    return (*LABEL_NAMES, *(SCORE_NAMES if config.label_type == "score" else ()))


def find_column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The first of `names` that is a column, whatever its case."""
    by_lower = {column.lower(): column for column in reversed(columns)}
    return next((by_lower[name] for name in names if name in by_lower), None)
