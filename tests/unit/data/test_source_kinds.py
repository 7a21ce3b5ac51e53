"""Kinds of sources are found, and asked in the order that they declare."""

import pytest

from pipeline.config import SplitConfig
from pipeline.data.source import SourceKind, find_source, named_datasets
from pipeline.errors import DataError
from pipeline.registry import SOURCES


def test_each_declares_its_turn() -> None:
    kinds = {name: SOURCES.only_class(name, SourceKind) for name in SOURCES.names()}
    assert set(kinds) >= {"file", "folder", "hub", "class_folders", "library_folder", "packaged", "part_files"}
    order = sorted(kinds, key=lambda name: kinds[name].priority)
    assert order == ["part_files", "packaged", "library_folder", "class_folders", "folder", "file", "hub"]
    assert len({kind.priority for kind in kinds.values()}) == len(kinds), "which of two is asked first would be chance"
    assert named_datasets() == ("rotten_tomatoes", "imdb", "sst2")


def test_a_path_of_nothing_is_no_id_of_the_hub() -> None:
    for dataset in ("reviews/train.csv", "./reviews", "/no/such", "~/reviews"):
        with pytest.raises(DataError, match=r"no such file\. Relative paths start at"):
            find_source(dataset, SplitConfig())
    with pytest.raises(DataError, match=r"Unknown data set 'reviews'.* Or give a file, a folder, or a hub id"):
        find_source("reviews", SplitConfig())
