"""Whether a version becomes champion: the paired test on the same test data, and what is written down of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline import config as configs
from pipeline.comparison.conclusions.phrases import Unit
from pipeline.comparison.head_to_head import HeadToHead, are_of_the_same_texts, hold_against
from pipeline.comparison.selection import limit_of_test, list_differing, test_set_of
from pipeline.errors import ConfigError, RunError, in_one_line
from pipeline.hashing import digest
from pipeline.json_text import parse_json
from pipeline.stages.registration.choice import Choice, parameters_of
from pipeline.tracking.model_registry.versions import ModelVersion
from pipeline.tracking.run_kinds import predicts_scores
from pipeline.tracking.run_options import logged_text
from pipeline.tracking.runs import Run, RunStore
from pipeline.tracking.tags import Tag

Promotion = Literal["first", "better", "no_worse", "told", "no"]


@dataclass(frozen=True)
class Decision:
    """Whether a version becomes champion, and why."""

    promotion: Promotion
    """Why it does; `no` where it does not."""
    sentence: str
    champion: ModelVersion | None = None
    """That there was."""
    outcome: HeadToHead | None = None
    """What the paired test says; None where there was none."""

    @property
    def promotes(self) -> bool:
        """Whether the version becomes champion."""
        return self.promotion != "no"

    def figures(self) -> dict[str, float]:
        """Of the paired test, by name; none without one."""
        if self.outcome is None:
            return {}
        test = self.outcome.test
        return {
            "lead": test.lead.value,
            "lead_low": test.lead.low,
            "lead_high": test.lead.high,
            "p_value": test.p_value,
            "texts": float(self.outcome.texts),
        }

    def tags(self, config: configs.RegisterConfig) -> dict[str, str]:
        """For the version."""
        found: dict[str, str] = {Tag.PROMOTION: self.promotion, Tag.DECISION: self.sentence}
        if self.outcome is None or self.champion is None:
            return found
        said = {
            "metric": self.outcome.test.metric.name,
            **self.figures(),
            "texts": self.outcome.texts,
            "decided_by": self.outcome.test.decided_by,
            "champion": self.champion.number,
            "promote": config.promote,
            "margin": config.margin,
        }
        return found | {Tag.PAIRED_TEST: json.dumps(said)}


def decided_by(version: ModelVersion) -> tuple[object, ...] | None:
    """Against which champion a version was tested, and by which rule; None where it was not."""
    try:
        said = parse_json(version.tags.get(Tag.PAIRED_TEST, ""))
        return said["champion"], said["promote"], said["margin"], said["metric"]
    except (ValueError, KeyError, TypeError):  # whoever can write to the store can write others
        return None


def test_set_tag(run: Run) -> str:
    """Equal for versions that were tested on the same examples."""
    return digest(test_set_of(run))


def _test_set_tags(run: Run) -> set[str]:
    """The same, and what it was for an earlier fairtune, which told examples apart by a limit above their number, too."""
    limit, seed = logged_text(run, "max_eval_samples"), logged_text(run, "split_seed")
    return {test_set_tag(run), digest((run.tags.get("data_fingerprint", ""), limit, seed if limit else None))}


def count_decisions(versions: Sequence[ModelVersion], run: Run) -> int:
    """How often the test examples of a run have decided over versions of a model before, by a paired test."""
    mine = _test_set_tags(run)
    return sum(
        version.run_id != run.run_id and version.tags.get(Tag.TEST_SET) in mine and Tag.PAIRED_TEST in version.tags
        for version in versions
    )


def find_rival(challenger: Run, champion: ModelVersion, store: RunStore) -> Run:
    """The run with the champion's predictions of the challenger's test texts: its own, or one in which it was tested on them.

    Raises:
        RunError: There is none; says how there will be.
    """
    told = "or add --promote always, which asks no test"
    try:
        trained = store.get(champion.run_id) if champion.run_id else None
    except RunError as error:
        raise RunError(f"{champion.address}, the champion, cannot be tested: {in_one_line(error)} Do that, {told}.") from error
    if trained is None:
        raise RunError(f"{champion.address}, the champion, is of no run, so it cannot be tested. Give another --name, {told}.")
    if predicts_scores(challenger) or predicts_scores(trained):
        raise RunError(
            f"{champion.address}: predicts scores, or the new model does, and there is no paired test of correlations. Give "
            f"another --name, {told}."
        )
    if test_set_of(trained) == test_set_of(challenger):
        return trained
    size = challenger.metrics.get("test/examples")
    for other in store.search({"stage": "evaluate", Tag.EVALUATES: trained.run_id}):
        alike = other.status == "FINISHED" and size is not None and other.metrics.get("test/examples") == size
        if alike and are_of_the_same_texts(challenger, other, store):
            return other
    raise RunError(
        f"--run-id {challenger.run_id}: was tested on other data than {champion.address}, the champion "
        f"({_say_difference(challenger, trained)}). {_way_out(challenger, trained)}, {told}."
    )


_CUT = ("split", "split_seed", "split_ratios", "group_column", "max_eval_samples")


def _say_difference(challenger: Run, trained: Run) -> str:
    differing = list_differing(challenger, trained, ("dataset", "test_file", *_CUT))
    prints = [run.tags.get("data_fingerprint", "?")[:12] for run in (challenger, trained)]
    return "; ".join(differing) or f"data fingerprint {prints[0]}, not {prints[1]}"


def _way_out(challenger: Run, trained: Run) -> str:
    """How the two come to be tested on the same texts."""
    mine, theirs = challenger.params.get("dataset", ""), trained.params.get("dataset", "")
    if mine == theirs and list_differing(challenger, trained, _CUT):
        return "Train with the champion's split, as its training texts may stand in the other's test part"
    if mine:  # of the same name, the file has changed since
        split = " --split-part test" if challenger.params.get("split") != "official" else ""
        limit = limit_of_test(challenger)
        bounded = "" if limit is None else f" --max-eval-samples {limit}"
        return (
            "Test the champion on the new data first (`python -m pipeline evaluate --run-id "
            f"{trained.run_id} --dataset {mine}{split}{bounded}`, with the options by which these data were read)"
        )
    return "Train both on the same version of the data"


def decide(
    config: configs.RegisterConfig, choice: Choice, version: ModelVersion, champion: ModelVersion | None, store: RunStore
) -> Decision:
    """Whether the version becomes champion.

    Raises:
        RunError: The test that was asked for cannot be made.
    """
    if champion is None:
        return Decision("first", f"Version {version.number} becomes champion: there is none to compare it with.")
    told = config.promote == "always"
    try:
        rival = find_rival(choice.run, champion, store)
        outcome = hold_against(choice.run, rival, choice.metric, store)
    except (RunError, ConfigError) as error:
        if not told:
            raise
        return Decision(
            "told",
            f"Version {version.number} becomes champion because --promote always says so, without a test: {in_one_line(error)}",
            champion,
        )
    promotion = _apply(config, outcome, choice.run, store.get(champion.run_id))
    sentence = _say(promotion, config, outcome, version, champion)
    if rival.run_id != champion.run_id:
        seen = rival.metrics.get("data/overlap_train_exact")
        overlap = "" if seen is None else f"; {seen:.1f} % of these texts stand in what it was trained on"
        sentence += f" The champion was tested on the new model's test texts by run {rival.run_id}{overlap}."
    return Decision(promotion, sentence, champion, outcome)


def _apply(config: configs.RegisterConfig, outcome: HeadToHead, challenger: Run, champion: Run) -> Promotion:
    if outcome.is_better:
        return "better"
    if config.promote == "no_worse" and outcome.is_no_worse(config.margin) and is_cheaper(challenger, champion):
        return "no_worse"
    return "told" if config.promote == "always" else "no"


def is_cheaper(run: Run, other: Run) -> bool:
    """Whether a model costs less: on the same base it trains fewer parameters, on another the whole model has fewer."""
    (total, trained), (their_total, their_trained) = parameters_of(run), parameters_of(other)
    same = run.tags.get(Tag.BASE_SHA256) == other.tags.get(Tag.BASE_SHA256)
    return trained < their_trained if same else total < their_total


def _say(
    promotion: Promotion, config: configs.RegisterConfig, outcome: HeadToHead, version: ModelVersion, champion: ModelVersion
) -> str:
    mine, theirs = f"Version {version.number}", f"version {champion.number}, the champion"
    within = f"at most {Unit.of(outcome.test.metric).say(config.margin)} worse"
    verdict: Mapping[Promotion, str] = {
        "better": f"{mine} becomes champion: it is shown to be better than {theirs}",
        "no_worse": f"{mine} becomes champion: it is cheaper than {theirs}, and {within}",
        "told": f"{mine} becomes champion because --promote always says so; it is not shown to be better than {theirs}",
        "no": f"{mine} does not become champion: it is not shown to be better than {theirs}"
        + (f", or cheaper and {within}" if config.promote == "no_worse" else ""),
    }
    return f"{verdict[promotion]} ({say_lead(outcome)})."


def say_lead(outcome: HeadToHead) -> str:
    """The difference with its interval, the p-value and what it is from."""
    test, unit = outcome.test, Unit.of(outcome.test.metric)
    lead, decimals = test.lead, unit.decimals + 1
    value, low, high = (f"{unit.factor * figure:+z.{decimals}f}" for figure in (lead.value, lead.low, lead.high))
    return (
        f"{test.metric.label} {value}{unit.word}, 95 % interval {low} to {high}, p = {test.p_value:.3g} by the "
        f"{test.decided_by} over {outcome.texts:,} test texts"
    )
