"""Data sets of the hub, and what the library datasets makes of their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.config import SplitConfig
from pipeline.data.builder import read_arrow
from pipeline.data.columns import LABEL, choose_columns, find_label_column
from pipeline.data.source import PART_NAMES, Source, SourceKind, SourceTables, agreed_classes, by_role, refuse_file_options
from pipeline.errors import DataError, enumerate_some
from pipeline.hub import fetch_snapshot

_SHORT_NAMES = {"sst2": "stanfordnlp/sst2"}


class Hub(SourceKind):
    """A data set of the hub."""

    priority = 40
    names = tuple(_SHORT_NAMES)

    def claims(self, dataset: str, config: SplitConfig) -> bool:
        """An id (OWNER/NAME), or a short name."""
        return dataset in _SHORT_NAMES or "/" in dataset

    def find(self, dataset: str, config: SplitConfig) -> Source:
        """Pinned by the commit that is its newest, or that `--dataset-revision` names.

        Raises:
            DataError: The hub cannot be reached and the data set is not in its cache, or there is none of this name.
        """
        refuse_file_options(config, dataset)
        repo_id = _SHORT_NAMES.get(dataset, dataset)
        snapshot = fetch_snapshot(repo_id, config.dataset_revision, "dataset", DataError)

        def load() -> Any:
            import datasets

            if config.dataset_config_name is None:
                check_one_configuration(str(snapshot.folder), dataset)
            return datasets.load_dataset(str(snapshot.folder), config.dataset_config_name)

        address = f"https://huggingface.co/datasets/{repo_id}/tree/{snapshot.commit}"
        return Source(
            dataset,
            address,
            f"{repo_id}@{snapshot.commit}",
            lambda: read_library(load, dataset, snapshot.folder, config, "Check --dataset-config-name."),
        )


def read_library(load: Callable[[], Any], name: str, folder: Path, config: SplitConfig, way_out: str) -> SourceTables:
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

    parts, unlabelled = {}, []
    named: dict[str, list[str] | None] = {}
    for part, rows in _known_parts(loaded).items():
        where = f"--dataset {name} ({part})"
        if part == "test" and find_label_column(rows.column_names, config) is None:
            unlabelled.append(part)
            continue
        roles, chosen = choose_columns(rows.column_names, where, config)
        columns = read_arrow(rows.select_columns(chosen.names).with_format("arrow")[:], chosen, where)
        parts[part] = by_role(roles, columns, where, config.label_columns)
        feature = rows.features[roles[LABEL]]
        feature = getattr(feature, "feature", feature)  # what a list holds
        named[where] = feature.names if isinstance(feature, datasets.ClassLabel) else None
    return SourceTables(parts, config.label_columns or agreed_classes(named), tuple(unlabelled))


def check_one_configuration(folder: str, name: str) -> None:
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
    for part, names in PART_NAMES.items():
        rows = next((by_name[name] for name in names if name in by_name), None)
        if rows is not None:
            known[part] = rows
    if not known and len(by_name) == 1:
        return {"all": next(iter(by_name.values()))}
    return known or by_name
