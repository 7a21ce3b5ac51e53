"""What the library datasets reads: data sets of the hub, and folders that it saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config import HUB_DATASETS, SplitConfig
from pipeline.data.columns import LABEL, find_columns, find_label_column
from pipeline.data.sources.base import PART_NAMES, Source, SourceTables
from pipeline.data.tables import as_series, as_texts
from pipeline.errors import DataError, enumerate_some
from pipeline.hashing import digest, hash_file
from pipeline.hub import fetch_snapshot


def hub(name: str, config: SplitConfig) -> Source:
    """A data set of the hub, pinned by the commit that is its newest, or that `--dataset-revision` names.

    Raises:
        DataError: The hub cannot be reached and the data set is not in its cache, or there is none of this name.
    """
    repo_id = HUB_DATASETS.get(name, name)
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


def saved(path: Path, config: SplitConfig) -> Source:
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
        if part == "test" and find_label_column(rows.column_names, config) is None:
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
    for part, names in PART_NAMES.items():
        found = next((by_name[name] for name in names if name in by_name), None)
        if found is not None:
            known[part] = found
    if not known and len(by_name) == 1:
        return {"all": next(iter(by_name.values()))}
    return known or by_name
