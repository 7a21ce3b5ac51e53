"""A search in Optuna's storage, and the samplers that propose its points."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.config.search_ranges import Choices, Integers, LogUniform, Range
from pipeline.errors import ConfigError, StoreError, hide_credentials, shorten
from pipeline.hashing import digest
from pipeline.tuning.budget import Cost
from pipeline.tuning.space import Space

if TYPE_CHECKING:
    import optuna

State = Literal["running", "complete", "pruned", "failed", "over budget"]

MIN_TRIALS = 8
"""Trials below which importances would be noise."""

_IDENTITY, _SEARCH_ID, _PRECISION, _RUN_ID = "identity", "search_id", "precision", "run_id"
# How long to wait for a database that another process writes, and for one that does not answer.
_CONNECT = {"sqlite": {"timeout": 60}, "postgresql": {"connect_timeout": 10}, "mysql": {"connect_timeout": 10}}


def create_sampler(name: str, space: Space, seed: int) -> optuna.samplers.BaseSampler:
    """The sampler of `--sampler`. Draws of `random` and `grid` depend on the trial's number alone."""
    from optuna.samplers import TPESampler

    samplers: Mapping[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "random": lambda: _planned(lambda number: space.draw(number, seed)),
        "grid": lambda: _planned(space.point),
        "tpe": lambda: TPESampler(seed=seed),
    }
    return samplers[name]()


def to_label(value: Any) -> Any:
    """A value as Optuna can keep it: lists as JSON."""
    return value if isinstance(value, (str, int, float, bool)) or value is None else json.dumps(value)


def from_label(search_range: Range, label: Any) -> Any:
    """The value again; rates rounded as they are trained with."""
    if isinstance(search_range, Choices):
        return next(value for value in search_range.options if to_label(value) == label)
    return search_range.round(label) if isinstance(search_range, LogUniform) else label


def _planned(draw: Callable[[int], Mapping[str, Any]]) -> optuna.samplers.BaseSampler:
    """A sampler whose draws depend on the trial's number alone. Optuna's own begin their random numbers anew on resuming."""
    import optuna

    class Planned(optuna.samplers.BaseSampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            return {}

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            return to_label(draw(trial.number)[param_name])

    return Planned()


@dataclass(frozen=True)
class Trial:
    """One point of a search, and what came of it."""

    number: int
    """From 0, in the order in which points are drawn."""
    point: Mapping[str, Any]
    state: State
    score: float | None = None
    run_id: str = ""
    reason: str = ""
    """Why it failed."""
    cost: Cost = field(default_factory=lambda: Cost(trials=1))


@dataclass(frozen=True)
class StudyAddress:
    """Where the record of a search is."""

    url: str
    name: str

    @classmethod
    def in_file(cls, path: Path, name: str) -> StudyAddress:
        """In an SQLite file, whatever its folders are called: `?` or `%` in them mean something in a URL."""
        from sqlalchemy.engine import URL

        return cls(URL.create("sqlite", database=str(path)).render_as_string(), name)

    def file(self) -> Path | None:
        """The SQLite file; None where the record is with a server, or the URL says more than a file.

        Raises:
            StoreError: The address is no URL.
        """
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            url = make_url(self.url)
        except (ValueError, ArgumentError) as error:  # such as a port that is no number
            raise StoreError(f"--storage {hide_credentials(self.url)}: is no URL of a database ({error}).") from error
        return Path(url.database) if url.get_backend_name() == "sqlite" and url.database and not url.query else None

    def open_storage(self) -> optuna.storages.RDBStorage:
        """The database, made where it is not there yet.

        Raises:
            ConfigError: It cannot be reached or is none of Optuna's.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        arguments = _CONNECT.get(self.url.partition(":")[0].partition("+")[0], {})
        try:
            return optuna.storages.RDBStorage(self.url, engine_kwargs={"connect_args": arguments})
        except Exception as error:  # the database's driver, SQLAlchemy and Optuna each raise their own
            reason = shorten(hide_credentials(" ".join(str(error).split())), 200)
            raise ConfigError(
                f"--storage {shorten(hide_credentials(self.url))}: cannot be opened ({reason}). Give the URL of a database "
                "that is up, such as sqlite:////path/to/searches.db, or leave it out."
            ) from error


class Search:
    """The record of one search, in Optuna's storage."""

    def __init__(self, address: StudyAddress, study: optuna.Study, space: Space) -> None:
        """Use `open_search`."""
        self.address, self._study, self._space = address, study, space

    @property
    def search_id(self) -> str:
        """Names this search on the runs of its trials; a search that begins anew gets another."""
        return str(self._study.user_attrs[_SEARCH_ID])

    @property
    def precision(self) -> str | None:
        """The type of matrix products that the trials train in."""
        return self._study.user_attrs.get(_PRECISION)

    @property
    def run_id(self) -> str | None:
        """The run of the whole search."""
        return self._study.user_attrs.get(_RUN_ID)

    def note(self, run_id: str, precision: str) -> None:
        """Write down which run the search has."""
        with storage_errors(self.address):
            self._study.set_user_attr(_PRECISION, precision)
            self._study.set_user_attr(_RUN_ID, run_id)

    def ask(self) -> Trial:
        """A new trial."""
        with storage_errors(self.address):
            return self.trial(self._suggest(self._study.ask()).number)

    def trial(self, number: int) -> Trial:
        """One trial."""
        with storage_errors(self.address):
            return self._trial(self._study.get_trials(deepcopy=False)[number])

    def trials(self) -> list[Trial]:
        """All trials by number; those left behind by a kill have their whole point by now."""
        import optuna

        with storage_errors(self.address):
            for frozen in self._study.get_trials(deepcopy=False):
                if frozen.state == optuna.trial.TrialState.RUNNING and len(frozen.params) < len(self._space.ranges):
                    self._suggest(optuna.trial.Trial(self._study, frozen._trial_id))
            return [self._trial(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def complete(self, number: int, score: float, run_id: str, cost: Cost, pruned: bool = False) -> None:
        """A trial was trained to its end, or to where the pruner ended it."""
        import optuna

        state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE
        attributes = {"run_id": run_id, "score": score, "train_seconds": cost.train_seconds, "examples": cost.examples}
        self._tell(number, attributes, None if pruned else score, state)

    def fail(self, number: int, reason: str, cost: Cost) -> None:
        """A trial failed, and would again; what it had cost by then is spent."""
        import optuna

        attributes = {"reason": reason[:1000], "train_seconds": cost.train_seconds, "examples": cost.examples}
        self._tell(number, attributes, None, optuna.trial.TrialState.FAIL)

    def leave(self, number: int) -> None:
        """A trial was drawn that the budget does not pay for."""
        import optuna

        self._tell(number, {"over_budget": True}, None, optuna.trial.TrialState.FAIL)

    def importances(self) -> dict[str, float]:
        """Share of each hyperparameter in how the scores differ, by PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255).

        Empty where the trials do not support it: fewer than `MIN_TRIALS`, one hyperparameter, or equal scores.
        """
        import optuna

        done = [t for t in self._study.get_trials(deepcopy=False) if t.state == optuna.trial.TrialState.COMPLETE]
        if len(done) < MIN_TRIALS or len(self._space.ranges) < 2 or len({t.value for t in done}) < 2:
            return {}
        with contextlib.suppress(ValueError, RuntimeError):
            return dict(optuna.importance.get_param_importances(self._study))
        return {}

    def _tell(self, number: int, attributes: Mapping[str, object], score: float | None, state: Any) -> None:
        with storage_errors(self.address):
            storage, study = self._study._storage, self._study._study_id
            trial_id = storage.get_trial_id_from_study_id_trial_number(study, number)
            checked = _checksum(storage.get_trial(trial_id), attributes, state)
            for name, value in {**attributes, _SUM: {"of": sorted(attributes), "sha256": checked}}.items():
                storage.set_trial_user_attr(trial_id, name, value)
            self._study.tell(number, score, state=state)

    def _suggest(self, trial: optuna.Trial) -> optuna.Trial:
        for name, search_range in self._space.ranges.items():
            if isinstance(search_range, Choices):
                trial.suggest_categorical(name, [to_label(value) for value in search_range.options])
            elif isinstance(search_range, Integers):
                trial.suggest_int(name, search_range.low, search_range.high)
            elif isinstance(search_range, LogUniform):
                trial.suggest_float(name, search_range.low, search_range.high, log=True)
        return trial

    def _trial(self, frozen: optuna.trial.FrozenTrial) -> Trial:
        import optuna

        states: dict[Any, State] = {
            optuna.trial.TrialState.RUNNING: "running",
            optuna.trial.TrialState.COMPLETE: "complete",
            optuna.trial.TrialState.PRUNED: "pruned",
            optuna.trial.TrialState.FAIL: "over budget" if "over_budget" in frozen.user_attrs else "failed",
        }
        known = frozen.user_attrs
        if _SUM in known and frozen.state.is_finished():
            recorded = {name: known.get(name) for name in known[_SUM]["of"]}
            if known[_SUM]["sha256"] != _checksum(frozen, recorded, frozen.state):
                raise StoreError(
                    f"--storage {hide_credentials(self.address.url)}: the record of trial {frozen.number + 1} is damaged. "
                    "Bring the storage back from a copy, or delete it: the same command then searches anew."
                )
        return Trial(
            frozen.number,
            {
                name: from_label(self._space.ranges[name], frozen.params[name])
                for name in self._space.ranges
                if name in frozen.params
            },
            states[frozen.state],
            known.get("score"),
            known.get("run_id", ""),
            known.get("reason", ""),
            Cost(1, known.get("train_seconds", 0.0), known.get("examples", 0)),
        )


_SUM = "checksum"
_UNREADABLE = (ValueError, LookupError, TypeError, StopIteration)
"""What Optuna and we raise of entries that neither would have written, such as JSON that is none."""


def _checksum(trial: optuna.trial.FrozenTrial, attributes: Mapping[str, object], state: optuna.trial.TrialState) -> str:
    """By which a settled trial is known when it is read back: its point, what it came to, and what halving compares."""
    reported = [trial.intermediate_values] if trial.intermediate_values else []  # none: as without halving before these counted
    return digest([trial.params, dict(attributes), state.name, *reported])


def open_search(address: StudyAddress, space: Space, identity: str, sampler: str, seed: int, lower_is_better: bool) -> Search:
    """The search of that name, begun or gone on with.

    Raises:
        ConfigError: The storage cannot be reached, or holds another search under that name.
    """
    import optuna

    storage = address.open_storage()
    with storage_errors(address):
        study = optuna.create_study(
            storage=storage,
            study_name=address.name,
            sampler=create_sampler(sampler, space, seed),
            direction="minimize" if lower_is_better else "maximize",
            load_if_exists=True,
        )
        stored = study.user_attrs.get(_IDENTITY)
        if stored != identity and (stored is not None or study.get_trials(deepcopy=False)):
            raise ConfigError(
                f"--study-name {address.name}: {shorten(hide_credentials(address.url))} holds another search under this name, "
                "of other options, another space, other data or other code. Choose another name, or leave it out."
            )
        for name, value in ((_SEARCH_ID, uuid.uuid4().hex), (_IDENTITY, identity)):
            if name not in study.user_attrs:
                study.set_user_attr(name, value)
    return Search(address, study, space)


def peek_search(address: StudyAddress, space: Space, identity: str) -> Search | None:
    """The search of that name and identity, to read; None if there is none, or its storage cannot be read.

    No file is made. In a database that is there, such as a server's, Optuna makes its tables if it has none yet.
    """
    import optuna

    try:
        file = address.file()
        if file is not None and not file.exists():
            return None
        with storage_errors(address):
            study = optuna.load_study(study_name=address.name, storage=address.open_storage())
            return Search(address, study, space) if study.user_attrs.get(_IDENTITY) == identity else None
    except (KeyError, ConfigError, StoreError):
        return None


def forget_search(address: StudyAddress) -> None:
    """Remove a search from its storage; nothing happens if there is none."""
    import optuna

    with storage_errors(address), contextlib.suppress(KeyError):
        optuna.delete_study(study_name=address.name, storage=address.open_storage())


@contextlib.contextmanager
def storage_errors(address: StudyAddress) -> Iterator[None]:
    """Errors of the storage as ours."""
    import optuna
    import sqlalchemy

    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError, *_UNREADABLE) as error:
        reason = shorten(hide_credentials(" ".join(str(error).split())), 300)
        raise StoreError(f"--storage {hide_credentials(address.url)}: the record of the search failed: {reason}.") from error
