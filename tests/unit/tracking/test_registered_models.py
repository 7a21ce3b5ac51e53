"""What the code may ask of a model registry: the same of MLflow's as of the one in memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.errors import ConfigError
from pipeline.tracking.memory import MemoryTracker
from pipeline.tracking.model_registry.versions import CHAMPION, check_name


@pytest.fixture(params=["memory", "mlflow"])
def tracker(request):
    return MemoryTracker() if request.param == "memory" else request.getfixturevalue("mlflow_tracker")


@pytest.mark.parametrize("name", ["fairtune-reviews", "it's ours", 'the "best"', "영화", "100%"])
def test_versions_are_numbered_and_one_has_the_alias(tracker, name):
    models = tracker.models
    runs = [tracker.start(f"run {number}").run_id for number in range(3)]
    assert (models.versions(name), models.aliased(name, CHAMPION)) == ([], None)
    first, second = (models.add(name, run_id, {"strategy": "full"}) for run_id in runs[:2])
    assert [(version.number, version.run_id) for version in models.versions(name)] == [(1, runs[0]), (2, runs[1])]
    assert (first.name, first.address, dict(first.tags)) == (name, f"models:/{name}/1", {"strategy": "full"})
    assert models.aliased(name, CHAMPION) is None
    models.set_alias(first, CHAMPION)
    models.set_alias(second, CHAMPION)
    assert models.aliased(name, CHAMPION).number == 2
    models.note(first, {"a": "1"}, "Said.")
    models.note(first, {"b": "2"})
    found = models.versions(name)[0]
    assert (dict(found.tags), found.description) == ({"strategy": "full", "a": "1", "b": "2"}, "Said.")
    models.remove(models.add(name, runs[2], {}))
    assert [version.number for version in models.versions(name)] == [1, 2]
    assert models.versions("another") == []


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "a:b", "a@champion", " a", "a\nb", 'it\'s "mine"', "x" * 201])
def test_names_that_mlflow_refuses_or_misreads_are_refused(name):
    with pytest.raises(ConfigError, match=r"^--name "):
        check_name(name)


@given(some.text(max_size=12))
def test_a_name_that_is_taken_is_one_word_of_an_address(name):
    try:
        check_name(name)
    except ConfigError:
        return
    assert f"models:/{name}/1".split("/") == ["models:", name, "1"]
    assert f"models:/{name}@{CHAMPION}".count("@") == 1
