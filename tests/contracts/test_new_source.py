"""Adding a kind of data source is adding one file: the one that the guide shows is taken as it stands."""

import re
import sqlite3
from contextlib import closing

import pandas as pd
import pytest

import pipeline.data.sources
from pipeline.config import SplitConfig
from pipeline.data.prepared import prepare
from pipeline.data.source import find_source
from pipeline.errors import DataError, PluginError
from pipeline.registry import SOURCES


@pytest.fixture
def add_module(add_module_to):
    """Puts a file beside the sources for as long as the test lasts."""
    return add_module_to(pipeline.data.sources)


def test_the_example_of_the_guide_is_a_source(add_module, guide, tiny, tmp_path, monkeypatch):
    section, block = guide("Add a data source in one file")
    (name,) = re.findall(r"Saved as `pipeline/data/sources/(\w+)\.py`", section)
    (dataset,) = re.findall(r"it reads `--dataset ([\w.]+)`", section)
    rows = pd.read_csv(tiny.csv())
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect(dataset)) as connection:
        rows.to_sql("reviews", connection, index=False)
    assert name not in SOURCES.names(), "the guide shows something new"
    with pytest.raises(DataError, match=f"--dataset {dataset}: "):
        find_source(dataset, SplitConfig()).read()
    add_module(name, block)
    config = SplitConfig(cache_dir=str(tmp_path / "cache"))
    assert find_source(dataset, config).option == f"--dataset {dataset}"
    prepared, _ = prepare(dataset, config)
    texts = [text for part in ("train", "validation", "test") for text in prepared.read(part)["text"]]
    assert sorted(texts) == sorted(rows["text"])
    with pytest.raises(DataError, match=r"--dataset other\.sqlite: no such file\."):
        find_source("other.sqlite", config)


def test_a_file_must_hold_one_kind(add_module):
    add_module("odd", "")
    with pytest.raises(TypeError, match="exactly one source"):
        find_source("reviews.csv", SplitConfig())


@pytest.mark.parametrize(
    ("columns", "missing"),
    [({"review": ["a"], "label": ["b"]}, "text"), ({"stars": [1]}, "text and label")],
    ids=["text", "both"],
)
def test_a_source_without_a_column_is_refused_by_name(add_module, columns, missing):
    lines = [
        "import pandas as pd",
        "from pipeline.data.source import Source, SourceKind, SourceTables",
        "class Odd(SourceKind):",
        "    priority = 1",
        "    def claims(self, dataset, config):",
        "        return dataset == 'odd'",
        "    def find(self, dataset, config):",
        f"        return Source('odd', 'odd:', 'odd', lambda: SourceTables({{'all': pd.DataFrame({columns})}}))",
    ]
    add_module("odd", "\n".join(lines))
    with pytest.raises(
        PluginError, match=rf"sources\.odd: class Odd gives the part 'all' without the column {missing}, but with"
    ):
        find_source("odd", SplitConfig()).read()
