"""The record of a search, in a real database."""

import contextlib
import sqlite3

import pytest

from pipeline.config.search_ranges import Choices, Integers, LogUniform
from pipeline.errors import ConfigError, StoreError
from pipeline.stages.search.loop import Halving
from pipeline.tuning.budget import Cost
from pipeline.tuning.plots import draw_expected_best, draw_importances, draw_trials
from pipeline.tuning.search import MIN_TRIALS, StudyAddress, forget_search, open_search, peek_search
from pipeline.tuning.space import Space

SPACE = Space(
    {"learning_rate": LogUniform(1e-5, 1e-2), "targets": Choices((["query"], ["query", "value"])), "r": Integers(1, 8)}
)


@pytest.fixture
def address(tmp_path):
    return StudyAddress(f"sqlite:///{tmp_path / 'search.db'}", "lora")


def opened(address, sampler="random", identity="a", space=SPACE, lower=False):
    return open_search(address, space, identity, sampler, 3, lower)


def test_what_was_asked_and_told_is_there_when_it_is_opened_again(address):
    search = opened(address)
    first, second, third = (search.ask() for _ in range(3))
    assert [dict(trial.point) for trial in (first, second, third)] == [SPACE.draw(number, 3) for number in range(3)]
    search.complete(second.number, 0.75, "run2", Cost(1, 2.5, 64))
    search.fail(third.number, "no memory", Cost(1, 0.5, 32))
    search.note("parent", "fp32")
    again = opened(address)
    assert (again.search_id, again.run_id, again.precision) == (search.search_id, "parent", "fp32")
    found = again.trials()
    assert [trial.state for trial in found] == ["running", "complete", "failed"]
    assert found[0].point == first.point
    assert (found[1].score, found[1].run_id, found[1].cost) == (0.75, "run2", Cost(1, 2.5, 64))
    assert (found[2].reason, found[2].cost) == ("no memory", Cost(1, 0.5, 32))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE trial_user_attributes SET value_json = '0.76' WHERE key = 'score'",
        "UPDATE trial_user_attributes SET value_json = '\"run3\"' WHERE key = 'run_id'",
        "UPDATE trial_params SET param_value = param_value * 2 WHERE param_name = 'learning_rate'",
        "UPDATE trials SET state = 'PRUNED'",
        "UPDATE trial_intermediate_values SET intermediate_value = 0.25",
    ],
)
def test_a_settled_trial_that_is_not_as_it_was_written_is_refused(address, damage):
    search = opened(address)
    number = search.ask().number
    assert not Halving(address, number, "accuracy")(10, {"accuracy": 0.5})
    search.complete(number, 0.75, "run2", Cost(1, 2.5, 64))
    search.ask()
    assert [trial.state for trial in opened(address).trials()] == ["complete", "running"]
    with contextlib.closing(sqlite3.connect(address.file())) as connection:
        connection.execute(damage)
        connection.commit()
    with pytest.raises(
        StoreError, match=r"the record of trial 1 is damaged\. Bring the storage back from a copy, or delete it"
    ):
        opened(address).trials()


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_trial_whose_point_was_half_drawn_gets_the_rest(address, sampler):
    search = opened(address, sampler)
    trial = search._study.ask()
    rate = trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True)
    (found,) = opened(address, sampler).trials()
    assert list(found.point) == list(SPACE.ranges)
    assert found.point["learning_rate"] == pytest.approx(rate, rel=0.01)
    if sampler == "random":
        assert found.point == SPACE.draw(0, 3)


def test_another_search_under_the_name_is_refused_and_one_that_was_forgotten_begins_anew(address):
    search = opened(address)
    search.ask()
    with pytest.raises(ConfigError, match=r"--study-name lora: .* holds another search under this name"):
        opened(address, identity="b")
    forget_search(address)
    forget_search(address)
    assert opened(address, identity="b").trials() == []


def test_a_study_of_somebody_else_is_refused(address):
    import optuna

    study = optuna.create_study(study_name=address.name, storage=address.open_storage())
    study.ask()
    with pytest.raises(ConfigError, match="holds another search"):
        opened(address)


@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/at/all.db", "nonsense", "nodriver://host/db", "postgresql+psycopg2://me:secret@localhost:1/db"]
)
def test_a_storage_that_cannot_be_reached_is_named_without_its_password(url):
    with pytest.raises(ConfigError) as caught:
        opened(StudyAddress(url, "lora"))
    assert str(caught.value).startswith("--storage ")
    assert "cannot be opened" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("folder", ["a?b", "a%3Fb", "a b#c@d"])
def test_a_folder_may_have_any_name(tmp_path, folder):
    path = tmp_path / folder / "search.db"
    path.parent.mkdir()
    address = StudyAddress.in_file(path, "lora")
    assert address.file() == path
    opened(address)
    assert [file.name for file in tmp_path.rglob("*")] == [folder, "search.db"]
    assert peek_search(address, SPACE, "a") is not None


def test_a_search_is_looked_at_without_making_a_file(address):
    assert peek_search(address, SPACE, "a") is None
    assert not address.file().exists()
    search = opened(address)
    search.ask()
    assert peek_search(address, SPACE, "b") is None
    assert [dict(trial.point) for trial in peek_search(address, SPACE, "a").trials()] == [SPACE.draw(0, 3)]


@pytest.mark.parametrize("url", ["nonsense", "nodriver://host/db", "postgresql://host:port/db"])
def test_no_search_is_seen_in_a_storage_that_cannot_be_opened(url):
    assert peek_search(StudyAddress(url, "lora"), SPACE, "a") is None


def test_no_search_is_seen_in_a_damaged_storage(address):
    opened(address)
    with sqlite3.connect(address.file()) as connection:
        connection.execute("ALTER TABLE studies RENAME COLUMN study_name TO called")
    connection.close()
    with pytest.raises(StoreError, match="the record of the search failed"):
        opened(address)
    assert peek_search(address, SPACE, "a") is None


def test_halving_ends_the_worse_half_and_counts_an_evaluation_once(address):
    search = opened(address)
    rules = [Halving(address, search.ask().number, "accuracy") for _ in range(4)]
    first = [rule(10, {"accuracy": score}) for rule, score in zip(rules, (0.9, 0.8, 0.5, 0.4), strict=True)]
    assert first == [False, True, True, True], "the first is the best of one, the others are not in the upper half so far"
    assert not rules[0](10, {"accuracy": 0.9}), "it comes by again after a kill"
    assert search._study.trials[0].user_attrs["evaluated"] == [10]
    assert rules[2](10, {"accuracy": 0.5}), "what was ended stays ended"
    assert rules[2](20, {"accuracy": 0.99}), "also where it trained on, killed before its checkpoint knew"
    search.complete(1, 0.8, "run", Cost(1, 1.0, 8), pruned=True)
    assert search.trials()[1].state == "pruned"


def test_pictures_and_importances_of_trials(address):
    search = opened(address)
    assert search.importances() == {}
    for number in range(MIN_TRIALS):
        trial = search.ask()
        search.complete(number, trial.point["r"] / 10, f"run{number}", Cost(1, 1.0, 8))
    shares = search.importances()
    assert max(shares, key=shares.__getitem__) == "r"
    assert sum(shares.values()) == pytest.approx(1)
    trials = search.trials()
    scores = [trial.score for trial in trials]
    figures = draw_trials(trials, "accuracy", False), draw_expected_best(scores, "accuracy", False), draw_importances(shares)
    assert all(figure.axes[0].has_data() for figure in figures)
    line = figures[0].axes[0].lines[1]
    assert list(line.get_ydata())[-1] == max(scores)
