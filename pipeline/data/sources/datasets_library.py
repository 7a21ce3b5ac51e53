"""What the library datasets reads: data sets of the hub, and folders that it saved."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.config import HUB_DATASETS, SplitConfig
from pipeline.data.builder import read_arrow
from pipeline.data.columns import LABEL, choose_columns, find_label_column
from pipeline.data.reading.tables import LFS, is_table_file
from pipeline.data.sources.base import PART_NAMES, Source, SourceTables, by_role, refuse_text_options
from pipeline.errors import DataError, enumerate_some
from pipeline.hashing import digest, hash_file
from pipeline.hub import fetch_snapshot

_SHARD = re.compile(r"-\d{5}-of-\d{5}(?:-[0-9a-f]+)?\.")


def hub(name: str, config: SplitConfig) -> Source:
    """A data set of the hub, pinned by the commit that is its newest, or that `--dataset-revision` names.

    Raises:
        DataError: The hub cannot be reached and the data set is not in its cache, or there is none of this name.
    """
    refuse_text_options(config, name)
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

    def load() -> Any:
        import datasets

        loaded = datasets.load_from_disk(str(path))
        return loaded if isinstance(loaded, Mapping) else {"all": loaded}

    return _folder(path, config, load, "Save it again with save_to_disk.")


def is_cloned(path: Path) -> bool:
    """Whether a folder is laid out as on the hub: by its card, or with files such as `data/train-00000-of-00001.parquet`."""
    return any(_SHARD.search(file.name) for file in _data_files(path)) or _card_names_data(path)


def cloned(path: Path, config: SplitConfig) -> Source:
    """A data set of the hub in a folder of this machine, as `git clone` or a download leaves it.

    Raises:
        DataError: The clone holds pointers of Git LFS in place of the data.
    """
    for file in _data_files(path):
        with file.open("rb") as opened:
            if opened.read(len(LFS)) == LFS:
                raise DataError(
                    f"--dataset {path}: {file.relative_to(path)} is a pointer of Git LFS, not the data. Run `git lfs pull` "
                    "in the folder, or download the data set anew."
                )

    def load() -> Any:
        import datasets

        if config.dataset_config_name is None:
            _check_one_configuration(str(path), str(path))
        return datasets.load_dataset(str(path), config.dataset_config_name)

    return _folder(path, config, load, "Check --dataset-config-name.")


def _folder(path: Path, config: SplitConfig, load: Callable[[], Any], way_out: str) -> Source:
    refuse_text_options(config, str(path))
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and ".git" not in file.relative_to(path).parts]
    sha256 = digest({str(file.relative_to(path)): hash_file(file) for file in files})
    return Source(
        path.resolve().name,
        path.resolve().as_uri(),
        sha256,
        lambda: _read_library(load, str(path), path, config, way_out),
    )


def _data_files(path: Path) -> list[Path]:
    """Files of data in a folder and in the folders right in it."""
    found = [*path.glob("*"), *path.glob("[!.]*/*")]
    return sorted(file for file in found if file.is_file() and is_table_file(file))


def _card_names_data(path: Path) -> bool:
    """Whether the front matter of a README names data files."""
    card = path / "README.md"
    if not card.is_file():
        return False
    start = card.read_text(encoding="utf-8", errors="replace")
    return bool(re.match(r"---\n(?:.*\n)*?(?:configs|data_files):", start.partition("\n---")[0] + "\n"))


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
        where = f"--dataset {name} ({part})"
        if part == "test" and find_label_column(rows.column_names, config) is None:
            unlabelled.append(part)
            continue
        roles, chosen = choose_columns(rows.column_names, where, config)
        used = [*chosen.columns, *([chosen.answer] if chosen.answer else [])]
        columns = read_arrow(rows.select_columns(used).with_format("arrow")[:], chosen, where)
        parts[part] = by_role(roles, columns)
        feature = rows.features[roles[LABEL]]
        feature = getattr(feature, "feature", feature)  # what a list holds
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
