"""Where labelled text comes from: packaged data, local files, a folder, or the hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.config import HUB_DATASETS, NAMED_DATASETS, PACKAGED_DATASETS, SplitConfig
from pipeline.data.reading.files import check_encoding
from pipeline.data.reading.tables import is_table_file
from pipeline.data.sources.base import Source, SourceTables, refuse_text_options
from pipeline.data.sources.datasets_library import hub
from pipeline.data.sources.local import local_file, local_folder, part_files, why_not_opened
from pipeline.data.sources.packaged import packaged_reviews
from pipeline.errors import DataError, has_surrogate, shorten, unknown

__all__ = ["Source", "SourceTables", "find_source"]


def find_source(dataset: str, config: SplitConfig) -> Source:
    """Find the data that `--dataset` names, or `--train-file` and its like.

    Raises:
        DataError: Nothing of that name, or it cannot be used.
    """
    check_encoding(config.encoding)
    for name in (dataset, config.train_file, config.validation_file, config.test_file):
        if name and has_surrogate(name):
            raise DataError(f"--dataset: got {name!a}, a name that is not in UTF-8. Rename the file.")
    if config.train_file or config.validation_file or config.test_file:
        return part_files(dataset, config)
    return replace(_find(dataset, config), option=f"--dataset {shorten(dataset)}")


def _find(dataset: str, config: SplitConfig) -> Source:
    if dataset in PACKAGED_DATASETS:
        refuse_text_options(config, dataset)
        if config.group_column:
            raise DataError(
                f"--group-column {config.group_column}: {dataset} has text and label only. Leave --group-column out."
            )
        if config.text_pair_column or config.label_type == "score":
            option = f"--text-pair-column {config.text_pair_column}" if config.text_pair_column else "--label-type score"
            raise DataError(f"{option}: {dataset} has one text and a class in each row. Give data of your own with --dataset.")
        return packaged_reviews(dataset)
    where = f"--dataset {shorten(dataset)}"
    try:
        path = Path(dataset).expanduser()
        if path.is_dir():
            return local_folder(path, config)
        if path.is_file():
            return local_file(path, config)
        there = path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # may not be read, is no possible name, or is ~NAME of nobody
        raise DataError(f"{where}: cannot be opened: {why_not_opened(error)}. Give the path of a file or folder.") from error
    if there:
        raise DataError(f"{where}: is neither a file nor a folder. Give one.")
    if is_table_file(path) or dataset.startswith((".", "/", "~")):
        raise DataError(f"{where}: no such file. Relative paths start at {Path.cwd()}.")
    if dataset not in HUB_DATASETS and "/" not in dataset:
        raise DataError(
            "--dataset: "
            + unknown("data set", shorten(dataset), NAMED_DATASETS)
            + " Or give a file, a folder, or a hub id (OWNER/NAME)."
        )
    return hub(dataset, config)
