"""By what models are ranked, and which of them is registered."""

from __future__ import annotations

import importlib
from typing import Annotated, Literal

from pipeline.config.fields import Choice, NonNegative, config_class
from pipeline.config.stage import Files, MostUsed, StageConfig

# Metrics are declared above this package in the order of imports, so what finds them is imported by name.
_METRICS = importlib.import_module("pipeline.evaluation.metric")


@config_class
class RankingConfig(StageConfig):
    """By what rows are ranked, and models held against each other."""

    ranking_metric: Annotated[Annotated[str, Choice(_METRICS.ranking_choices)] | None, Files(3)] = None
    """Test metric by which rows are ranked and told apart; choose it before any result is seen. If not given, of classes and
    label sets f1_macro, of scores spearman; compare takes what a study was given."""


@config_class
class RegisterConfig(RankingConfig):
    """Make a run, or a study's winner, a version of a registered model, and the champion if a test on the same data says so."""

    run_id: Annotated[str | None, MostUsed(5)] = None
    """Run of the train stage (or the best trial of tune), tested, that becomes a version."""
    study: Annotated[str | None, MostUsed(6)] = None
    """Instead of a run: run id of a `main` run whose winner becomes a version; the newest if neither is given."""
    winner: Annotated[Literal["best", "cheapest"], MostUsed(7)] = "best"
    """Of a study. best: the row that the verdict names as best score; cheapest: of the rows that may be the best the one that
    trains the fewest parameters. Of several seeds the model with the best validation score."""
    name: Annotated[str | None, MostUsed(8)] = None
    """Name of the registered model; fairtune- and the data set's name if not given."""
    promote: Annotated[Literal["better", "no_worse", "always"], MostUsed(9)] = "better"
    """When the version becomes champion. better: the paired test on the champion's test data says so; no_worse: it is better,
    or at most --margin worse and cheaper; always: in any case. The first version always does."""
    margin: Annotated[NonNegative, MostUsed(10)] = 0.01
    """With --promote no_worse: the most that the champion may be better by the ranking metric, at the end of the 95 % interval
    of the difference."""
