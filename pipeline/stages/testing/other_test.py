"""Score a run's model on rows outside its own test part. The scores get a separate run and enter no table."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline import config as configs
from pipeline.config.fields import describe_fields
from pipeline.config.identity import identify
from pipeline.config.stage import flag
from pipeline.data.columns import Problem
from pipeline.data.prepared import PreparedData, prepare
from pipeline.data.source import find_source
from pipeline.data.splits import choose_sample
from pipeline.errors import ConfigError, DataError
from pipeline.stages.progress import say
from pipeline.stages.run_record import check_data, check_finished, origin_tags, read_config
from pipeline.stages.testing.other_data import Naming, OtherData, count_repeated, own_rows, read_other
from pipeline.stages.testing.test import log_test, scoring_version
from pipeline.tracking.runs import Run, RunLogger, Tracker, closing
from pipeline.tracking.tags import DESCRIPTION, Tag
from pipeline.training.saved_model import load_model_folder, read_record

OF_DATA = ("dataset", "max_eval_samples", *(describe_fields(configs.SplitConfig)))
"""Options that say which other data, and how they are read."""
_SAME = ("split_seed", "label_type", "label_separator")
_COLUMNS = ("text_column", "text_pair_column", "label_column", "label_columns")


@dataclass(frozen=True)
class OtherTest:
    """What is to be scored: a run, and whether the rows are of the data that it was trained on."""

    trained: Run
    train_config: configs.TrainConfig
    own: bool


@dataclass(frozen=True)
class OtherScores:
    """Scores on other rows."""

    run_id: str
    """The run that carries them."""
    test: dict[str, float]
    on: str
    """Which rows, such as `500 of 872 texts of reviews.csv`."""


def find_other_test(config: configs.EvaluateConfig, tracker: Tracker) -> OtherTest | None:
    """The run, where other rows than its own test part are asked for.

    Raises:
        ConfigError: All rows of the run's own data are asked for, or its own data read otherwise.
    """
    if not config.dataset and config.split_part in (None, "test"):
        return None
    trained = tracker.get(config.run_id or "")
    check_finished(trained)
    train_config = read_config(tracker, trained, config.cache_dir)
    own = not config.dataset or _is_own(config, train_config, trained)
    reading = describe_fields(configs.SplitConfig).keys() - describe_fields(configs.StageConfig).keys()
    if config.split_part in (None, "test"):  # as it was tested once, a run is tested again
        reading |= {"max_eval_samples"}
    if own and (typed := [flag(name) for name in config.explicit if name in reading]):
        raise ConfigError(
            f"--dataset {config.dataset}: is what run {trained.run_id} was trained on, so it is read as it was then. Leave out "
            f"{', '.join(typed)}."
        )
    if own and config.split_part == "all":
        raise ConfigError(
            f"--split-part all: among all rows of what run {trained.run_id} was trained on are its test rows, which are scored "
            "by themselves. Take test, train or validation."
        )
    return None if own and config.split_part in (None, "test") else OtherTest(trained, train_config, own)


def _is_own(config: configs.EvaluateConfig, train_config: configs.TrainConfig, trained: Run) -> bool:
    """Whether other data are what a run was trained on, by their content. A file that has changed since is not."""
    other = find_source(config.dataset or "", config)
    try:
        if find_source(train_config.dataset, train_config).sha256 != other.sha256:
            return False
        home, _ = prepare(train_config.dataset, train_config)
    except DataError:  # what it was trained on is gone
        return False
    return home.manifest.fingerprint == trained.tags["data_fingerprint"]


def run_other_test(config: configs.EvaluateConfig, asked: OtherTest, tracker: Tracker, parent_id: str | None) -> OtherScores:
    """Score the rows and log all that comes of it.

    Raises:
        InputError: The rows cannot be read, or the model knows other classes.
    """
    began, trained = time.perf_counter(), asked.trained
    with tempfile.TemporaryDirectory() as scratch:
        folder = tracker.download_model(trained.run_id, Path(scratch))
        record = read_record(folder)
        problem = record.problem
        rows, home = _read(config, asked, problem)
        sample = choose_sample(len(rows.table), config.max_eval_samples, config.split_seed)
        table = rows.table.iloc[sample].reset_index(drop=True)
        on = rows.describe(len(table))
        model = load_model_folder(folder, asked.train_config.acceleration, config.cache_dir)
        with closing(tracker.start(f"evaluate-{trained.name}-on-{rows.name}", parent_id)) as logger:
            options = {name: value for name, value in identify(config).items() if name in (*OF_DATA, "run_id")}
            logger.log_params({**options, "dataset": config.dataset or asked.train_config.dataset, "split_part": rows.part})
            logger.set_tags(
                {
                    **origin_tags("evaluate", config, rows.fingerprint(problem.classes)),
                    Tag.EVALUATES: trained.run_id,
                    Tag.CODE_VERSION: scoring_version(trained),
                    DESCRIPTION: f"Scores of run {trained.run_id} ({trained.name}) on {on}. They stand in no table.",
                }
            )
            rows.log(logger)
            test = log_test(model, problem.classes, table, len(rows.table), logger, f"{trained.name} on {rows.name}")
            for line in (*rows.describe_absent(table, problem.classes), *_say_seen(table, home, asked.own, rows.part, logger)):
                say(line)
            logger.log_metrics({"cost/wall_seconds": time.perf_counter() - began})
    return OtherScores(logger.run_id, test, on)


def _read(config: configs.EvaluateConfig, asked: OtherTest, problem: Problem) -> tuple[OtherData, PreparedData | None]:
    """The rows, and what the model was trained on unless that is gone."""
    home: PreparedData | None = None
    try:
        home, _ = prepare(asked.train_config.dataset, asked.train_config)
    except DataError:
        if asked.own:
            raise
    if asked.own and home is not None and config.split_part in ("train", "validation"):
        check_data(asked.trained, home)
        return own_rows(home, config.split_part, problem.classes), home
    if home is not None and home.manifest.fingerprint != asked.trained.tags["data_fingerprint"]:
        home = None
    listed = config.labels if set(config.labels) != set(problem.classes) else ()
    options = _options(config, asked.train_config)
    return read_other(config.dataset or "", options, config.split_part, problem, Naming(problem.classes, listed)), home


def _options(config: configs.EvaluateConfig, train_config: configs.TrainConfig) -> configs.EvaluateConfig:
    """Columns that were not typed are those of the run where the data have them, else what they are usually called."""
    same = {name: getattr(train_config, name) for name in _SAME if name not in config.explicit}
    config = dataclasses.replace(config, **same)
    columns = {name: getattr(train_config, name) for name in _COLUMNS if not getattr(config, name)}
    as_trained = dataclasses.replace(config, **columns)
    if as_trained == config:
        return config
    try:
        find_source(config.dataset or "", as_trained).read()
    except DataError:
        return config
    return as_trained


def _say_seen(table: pd.DataFrame, home: PreparedData | None, own: bool, part: str, logger: RunLogger) -> Iterator[str]:
    """How much of what was scored the model has seen in training."""
    if own and part == "train":
        yield "The model was trained on this part: the scores say how well it has learned it, and no more."
    elif home is None:
        yield "What the run was trained on is not there as it was, so nothing is said of how much of this it has seen."
    else:
        repeated = count_repeated(table, home)
        logger.log_metrics({"data/overlap_train_exact": 100 * repeated / len(table)})
        yield f"{repeated:,} of them stand word for word in the train part that the model was trained on."
