"""The stage `register`: a run, or a study's winner, becomes a version of a registered model, and champion if it is better."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from dataclasses import dataclass
from pathlib import PurePath

from pipeline import config as configs
from pipeline.comparison.head_to_head import hold_against
from pipeline.config.identity import identify
from pipeline.errors import InputError, RunError, StoreError
from pipeline.stages.progress import say
from pipeline.stages.registration.choice import Choice, choose
from pipeline.stages.registration.decision import count_decisions, decide, decided_by, find_rival, test_set_tag
from pipeline.stages.registration.description import describe, say_role_of_test
from pipeline.stages.run_record import origin_tags
from pipeline.tracking import open_tracker
from pipeline.tracking.model_registry.versions import CHAMPION, ModelRegistry, ModelVersion, check_name
from pipeline.tracking.runs import Run, RunLogger, Tracker, closing
from pipeline.tracking.tags import DESCRIPTION, Tag

_PREFIX = "fairtune-"
_PENDING, _DONE = "pending", "done"
_PATIENCE, _BETWEEN = 180.0, 0.5
"""Seconds that another registration may take, and between two looks at it."""


@dataclass(frozen=True)
class RegisterResult:
    """A version, and whether it is champion."""

    name: str
    version: int
    is_champion: bool
    run_id: str | None = None
    """The run that registered it; None where it was registered before and nothing was done."""


def run(config: configs.RegisterConfig, tracker: Tracker | None = None, parent_id: str | None = None) -> RegisterResult:
    """Register a model, and decide whether it becomes champion.

    A model that is registered already gets no second version; it may become champion, if it is not.

    Raises:
        InputError: There is no such run or study, it has no tested model, or the test that was asked for cannot be made.
    """
    tracker = tracker or open_tracker()
    choice = choose(config, tracker)
    trained = choice.run
    name = config.name or default_name(trained)
    check_name(name)
    if not tracker.has_artifact(trained.run_id, "model"):
        raise RunError(f"--run-id {trained.run_id}: has no model (of a search, only the best trial has). Name another run.")
    models = tracker.models
    known, champion = _version_of(models, name, trained.run_id), models.aliased(name, CHAMPION)
    if known and _is_settled(config, choice, known, champion):
        return _say_known(known, champion)
    if champion and champion.run_id != trained.run_id and config.promote != "always":
        # What cannot be tested is refused before anything is made.
        hold_against(trained, find_rival(trained, champion, tracker), choice.metric, tracker)
    about = describe(choice, tracker)
    tags = origin_tags("register", config, trained.tags["data_fingerprint"])
    with closing(tracker.start(f"register-{name}", parent_id, tags)) as logger:
        logger.log_params({**identify(config), "name": name})
        version = _take_turn(known, choice, name, tracker, logger)
        first = _version_of(models, name, trained.run_id) or version
        champion = models.aliased(name, CHAMPION)
        if first.number != version.number or _is_settled(config, choice, first, champion):  # another process did it meanwhile
            if first.number != version.number:
                with contextlib.suppress(StoreError):  # a server may let only its owner delete
                    models.remove(version)
            result = _say_known(first, champion)
        else:
            try:
                is_champion = _decide(config, choice, first, about, tracker, logger)
            except InputError:  # the champion is another one meanwhile
                if known is None:
                    with contextlib.suppress(StoreError):
                        models.remove(version)
                raise
            result = RegisterResult(name, first.number, is_champion)
        logger.set_tags({Tag.MODEL_VERSION: f"{name}/{first.number}", Tag.REGISTERS: trained.run_id})
    return dataclasses.replace(result, run_id=logger.run_id)


def _take_turn(known: ModelVersion | None, choice: Choice, name: str, tracker: Tracker, logger: RunLogger) -> ModelVersion:
    """The version of the run, once it is its turn to be decided.

    The registry numbers versions in one transaction, so their numbers are the order: each decides against the champion
    that the one before it has left. One that is decided anew comes after all that have begun.
    """
    models = tracker.models
    pending: dict[str, str] = {Tag.REGISTRATION: _PENDING, Tag.REGISTERED_BY: logger.run_id}
    if known is None:
        version = models.add(name, choice.run.run_id, _facts(choice.run) | pending)
        _await_others(tracker, name, logger.run_id, version.number)
        return version
    _await_others(tracker, name, logger.run_id)
    again = _version_of(models, name, choice.run.run_id) or known
    if again.tags == known.tags:
        models.note(again, pending)
    return again


def _decide(
    config: configs.RegisterConfig,
    choice: Choice,
    version: ModelVersion,
    about: str,
    tracker: Tracker,
    logger: RunLogger,
) -> bool:
    """Whether the version is champion now. What was decided stands on it before the alias moves, and is final afterwards."""
    models, champion = tracker.models, tracker.models.aliased(version.name, CHAMPION)
    if champion and champion.number == version.number:  # whoever moved the alias was killed at once
        models.note(version, {Tag.REGISTRATION: _DONE})
        _say(version, version.tags.get(Tag.DECISION, ""), True)
        return True
    decision = decide(config, choice, version, champion, tracker)
    before = count_decisions(models.versions(version.name), choice.run)
    role = say_role_of_test(choice, before, version.name)
    said = f"{decision.sentence} {role}"
    models.note(version, {**decision.tags(config), Tag.DECIDED_BEFORE: str(before)}, f"{about}\n\n{said}")
    if decision.promotes:
        models.set_alias(version, CHAMPION)
    models.note(version, {Tag.REGISTRATION: _DONE})
    logger.set_tags({DESCRIPTION: said, Tag.PROMOTION: decision.promotion})
    logger.log_outcome({f"register/{figure}": value for figure, value in decision.figures().items()})
    _say(version, said, decision.promotes)
    return decision.promotes


def default_name(trained: Run) -> str:
    """fairtune- and what the data set is called: of a file or folder its name without endings."""
    dataset = trained.params.get("dataset") or trained.params.get("train_file") or "model"
    short = PurePath(dataset).name
    return _PREFIX + (re.sub(r"[^\w.-]+", "-", short.partition(".")[0] or short).strip("-.") or "model")


def _facts(trained: Run) -> dict[str, str]:
    """Tags of a version by which it is found."""
    names = ("strategy", "data_fingerprint")
    return {name: trained.tags.get(name, "") for name in names} | {Tag.TEST_SET: test_set_tag(trained)}


def _version_of(models: ModelRegistry, name: str, run_id: str) -> ModelVersion | None:
    """The first version that is the model of a run."""
    return next((version for version in models.versions(name) if version.run_id == run_id), None)


def _is_settled(config: configs.RegisterConfig, choice: Choice, known: ModelVersion, champion: ModelVersion | None) -> bool:
    """Whether nothing is left to decide of a version that is there: it is champion, or was refused for it by this rule.

    One that was champion, and is not any more, is decided anew.
    """
    if known.tags.get(Tag.REGISTRATION) == _PENDING:
        return False
    if champion is None or champion.number == known.number:
        return champion is not None
    refused = known.tags.get(Tag.PROMOTION) == "no"
    return refused and decided_by(known) == (champion.number, config.promote, config.margin, choice.metric.name)


def _say_known(known: ModelVersion, champion: ModelVersion | None) -> RegisterResult:
    is_champion = champion is not None and champion.number == known.number
    state = "and champion." if is_champion else f"not champion: {known.tags.get(Tag.DECISION, '')}"
    say(f"Run {known.run_id} is version {known.number} of {known.name} already, {state} Nothing was changed.")
    return RegisterResult(known.name, known.number, is_champion)


def _await_others(tracker: Tracker, name: str, registered_by: str, before: int | None = None) -> None:
    """Wait for other registrations, of versions below the number if there is one. One that was killed is not waited for."""
    deadline = time.monotonic() + _PATIENCE
    while others := [
        version
        for version in tracker.models.versions(name)
        if (before is None or version.number < before)
        and version.tags.get(Tag.REGISTRATION) == _PENDING
        and version.tags.get(Tag.REGISTERED_BY) != registered_by
        and _is_at_work(version.tags.get(Tag.REGISTERED_BY, ""), tracker)
    ]:
        if time.monotonic() > deadline:
            say(f"Version {others[0].number} of {name} is not decided after {_PATIENCE:.0f} s, so it is not waited for.")
            return
        time.sleep(_BETWEEN)


def _is_at_work(run_id: str, tracker: Tracker) -> bool:
    try:
        return tracker.get(run_id).status == "RUNNING"
    except RunError:
        return False


def _say(version: ModelVersion, decision: str, is_champion: bool) -> None:
    say(f"Version {version.number} of {version.name} is the model of run {version.run_id}. {decision}")
    address = f"models:/{version.name}@{CHAMPION}" if is_champion else version.address
    # MLflow makes an environment of its own unless told not to; its UI has port 5000.
    serve = f"mlflow models serve -m {address} --env-manager local --port 5001"
    say(f"Next: python -m pipeline predict --model {address} --input FILE --output FILE, or {serve}")
