"""Registering models: what becomes champion and why, what is written down of it, and what is refused."""

import json
import threading
from pathlib import Path

import pandas as pd
import pytest

from pipeline.config import RegisterConfig
from pipeline.stages import register, train
from pipeline.tracking.model_registry.versions import CHAMPION
from pipeline.tracking.runs import closing
from pipeline.tracking.tags import Tag


@pytest.fixture(scope="module")
def weak(workspace):
    """Has seen nothing, and is told apart from `strong`."""
    return make(workspace, strategy="full", seed=1, epochs=1, learning_rate=1e-9)


@pytest.fixture(scope="module")
def strong(workspace):
    return make(workspace, strategy="full", seed=1, epochs=6, batch_size=8)


@pytest.fixture(scope="module")
def twin(workspace):
    """Trains a share of the parameters of `strong`."""
    return make(workspace, strategy="partial", strategy_args="top_k=1", seed=1, epochs=10, batch_size=8)


def make(workspace, **options):
    run_id = workspace.train(**options)
    workspace.evaluate(run_id)
    return run_id


@pytest.fixture
def models(workspace):
    return workspace.tracker.models


@pytest.fixture
def name(request):
    return request.node.name[:60].replace("/", "").replace(":", "")


@pytest.fixture
def do(workspace, name):
    def do(run_id=None, status=0, **options):
        given = {"run_id": run_id, "name": name, **options}
        result = workspace.cli("register", **{option: value for option, value in given.items() if value is not None})
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return " ".join(result.output.split())

    return do


def test_the_first_is_champion_and_a_better_one_takes_its_place(workspace, models, do, name, weak, strong):
    said = do(weak)
    assert f"Version 1 of {name} is the model of run {weak}. Version 1 becomes champion: there is none to compare" in said
    assert "has not decided before" in said
    first = models.aliased(name, CHAMPION)
    assert (first.number, first.tags[Tag.PROMOTION]) == (1, "first")
    assert Tag.PAIRED_TEST not in first.tags
    said = do(strong)
    assert "Version 2 becomes champion: it is shown to be better than version 1, the champion (F1" in said.replace(
        "macro F1", "F1"
    )
    second = models.aliased(name, CHAMPION)
    found = json.loads(second.tags[Tag.PAIRED_TEST])
    assert (second.number, second.tags[Tag.PROMOTION], found["champion"], found["metric"]) == (2, "better", 1, "f1_macro")
    assert 0 < found["lead_low"] < found["lead"] < found["lead_high"]
    assert found["p_value"] < 0.05
    gap = (
        workspace.client.get_run(strong).data.metrics["test/f1_macro"]
        - workspace.client.get_run(weak).data.metrics["test/f1_macro"]
    )
    assert found["lead"] == pytest.approx(gap)
    assert models.aliased(name, CHAMPION).tags[Tag.DECIDED_BEFORE] == "0"
    for told in (
        "Data: reviews-200-0.csv",
        "licence not known",
        "95 % interval",
        "Costs: trains",
        "MB to keep",
        f"run {strong}",
    ):
        assert told in second.description
    assert str(workspace.folder) not in second.description
    made = workspace.tracker.search({"stage": "register"})[0]
    assert made.status == "FINISHED"
    assert made.tags[Tag.MODEL_VERSION] == f"{name}/2"
    assert made.metrics["register/p_value"] == found["p_value"]
    pd.DataFrame({"text": ["a fine film"]}).to_csv("one.csv", index=False)
    address = f"models:/{name}@champion"
    assert workspace.cli("predict", model=address, input="one.csv", output=f"{name}.csv").exit_code == 0


def test_one_that_is_not_shown_to_be_better_does_not(models, do, name, weak, strong):
    do(strong)
    said = do(weak)
    assert "Version 2 does not become champion: it is not shown to be better than version 1" in said
    assert models.aliased(name, CHAMPION).number == 1
    assert "is version 2 of" in (again := do(weak))
    assert "not champion: Version 2 does not" in again
    assert "Nothing was changed" in again
    assert [version.number for version in models.versions(name)] == [1, 2]
    assert "becomes champion because --promote always says so" in do(weak, promote="always")
    assert (models.aliased(name, CHAMPION).number, len(models.versions(name))) == (2, 2)
    assert "already, and champion. Nothing was changed." in do(weak)


def test_a_cheaper_one_that_is_no_worse_does_where_that_is_asked_for(models, do, name, strong, twin, weak):
    do(strong)
    said = do(twin, promote="no_worse", margin=1)
    assert "it is cheaper than version 1, the champion, and at most 100.0 points worse" in said
    assert models.aliased(name, CHAMPION).tags[Tag.PROMOTION] == "no_worse"
    said = do(weak, promote="no_worse", margin=1)
    assert "or cheaper and at most 100.0 points worse" in said, "it trains more parameters"
    assert models.aliased(name, CHAMPION).run_id == twin
    assert models.versions(name)[2].tags[Tag.DECIDED_BEFORE] == "1"
    assert "has decided once before which version" in said


@pytest.fixture(scope="module")
def study(workspace):
    """As `main` leaves one: full with two seeds, and a guess."""
    with closing(workspace.tracker.start("study-mine", None, {"stage": "main"})) as logger:
        for options in ({"strategy": "full", "seed": 1}, {"strategy": "full", "seed": 2}, {"strategy": "majority", "seed": 1}):
            config = workspace.config(**options, epochs=8, batch_size=8, dropout=0)
            workspace.evaluate(train.run(config, workspace.tracker, logger.run_id).run_id)
    return logger.run_id


def test_the_winner_of_a_study_is_its_best_row_and_of_its_seeds_the_best_by_validation(workspace, models, do, name, study):
    said = do(study=study)
    chosen = models.aliased(name, CHAMPION)
    seeds = [run for run in workspace.tracker.search({"strategy": "full"}) if run.parent_id == study]
    assert len(seeds) == 2
    best = max(run.metrics["val/f1_macro"] for run in seeds)
    assert next(run for run in seeds if run.run_id == chosen.run_id).metrics["val/f1_macro"] == best
    assert "chose this model among 2 rows, and has not decided before" in said
    assert "of the study study-mine" in chosen.description
    assert "full has the highest score" in chosen.description
    assert "Of its 2 seeds" in chosen.description
    again = workspace.cli("register")
    assert again.exit_code == 0, again.output
    assert "of fairtune-reviews-200-0 is the model of run" in again.output, "the newest study, by the name of its data"


def test_the_winner_of_a_study_without_one_is_refused(workspace, do, study):
    workspace.client.set_terminated(study, "KILLED")
    assert f"--study {study}: did not finish, its status is KILLED" in do(study=study, status=2)
    workspace.client.set_terminated(study, "FINISHED")
    with closing(workspace.tracker.start("study-none", None, {"stage": "main"})) as logger:
        config = workspace.config(strategy="full", learning_rate=1e-9, epochs=1)
        workspace.evaluate(train.run(config, workspace.tracker, logger.run_id).run_id)
    assert "its verdict names no best row" in do(study=logger.run_id, status=2)


def test_a_champion_of_other_data_is_tested_on_the_new_ones_first(workspace, models, do, name, strong, tiny):
    do(strong)
    other = tiny.csv(rows=160, seed=9)
    challenger = make(workspace, strategy="full", seed=1, dataset=other, epochs=6, batch_size=8)
    said = do(challenger, status=2)
    assert f"was tested on other data than models:/{name}/1, the champion (dataset {other}" in said
    command = f"python -m pipeline evaluate --run-id {strong} --dataset {other} --split-part test"
    assert command in said
    assert [version.number for version in models.versions(name)] == [1]
    result = workspace.cli("evaluate", run_id=strong, dataset=other, split_part="test")
    assert result.exit_code == 0, result.output
    said = do(challenger)
    assert "The champion was tested on the new model's test texts by run" in said
    assert len(models.versions(name)) == 2


def test_a_file_that_has_grown_is_other_data(workspace, models, do, name, tiny, tmp_path):
    """The rows below it came later: what the champion scored on the old test part says nothing of the new one."""
    file = tmp_path / "reviews.csv"
    file.write_text(tiny.csv(rows=160, seed=11).read_text())
    options = {"strategy": "full", "seed": 1, "dataset": file, "epochs": 6, "batch_size": 8}
    champion = make(workspace, **options)
    do(champion)
    before = workspace.tracker.get(champion).metrics["test/f1_macro"]
    file.write_text(file.read_text() + "".join(tiny.csv(rows=80, seed=12).read_text().splitlines(keepends=True)[1:]))
    challenger = make(workspace, **options)
    said = do(challenger, status=2)
    assert f"python -m pipeline evaluate --run-id {champion} --dataset {file} --split-part test" in said
    result = workspace.cli("evaluate", run_id=champion, dataset=file, split_part="test")
    assert result.exit_code == 0, result.output
    assert "recorded before" not in result.output
    assert "What the run was trained on is not there as it was" in " ".join(result.output.split())
    assert workspace.tracker.get(champion).metrics["test/f1_macro"] == before
    assert "The champion was tested on the new model's test texts by run" in do(challenger)
    assert len(models.versions(name)) == 2


def test_one_that_was_champion_can_be_again(models, do, name, weak, strong):
    do(strong)
    for run_id, number in ((weak, 2), (strong, 1), (weak, 2)):
        assert f"Version {number} becomes champion" in do(run_id, promote="always")
        assert models.aliased(name, CHAMPION).number == number
    assert "Version 1 becomes champion: it is shown to be better than version 2" in do(strong)
    assert "not champion: Version 2 does not become champion" in do(weak) + do(weak), "what was refused stays so"
    assert len(models.versions(name)) == 2


def test_several_that_register_at_once_decide_one_after_the_other(workspace, models, do, name, weak, strong, twin):
    """As in two processes: each has a tracker of its own."""
    failures = []

    def register_one(run_id):
        try:
            register.run(RegisterConfig(run_id=run_id, name=name), workspace.tracker)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=register_one, args=[run_id]) for run_id in (weak, strong, twin, strong)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    versions = models.versions(name)
    assert sorted(version.run_id for version in versions) == sorted([weak, strong, twin]), "each run once"
    champion = 0
    for version in versions:
        assert version.tags[Tag.REGISTRATION] == "done"
        if version.tags[Tag.PROMOTION] != "first":
            assert json.loads(version.tags[Tag.PAIRED_TEST])["champion"] == champion
        if version.tags[Tag.PROMOTION] != "no":
            champion = version.number
    assert models.aliased(name, CHAMPION).number == champion
    assert models.aliased(name, CHAMPION).run_id != weak


def test_one_that_was_killed_is_not_waited_for_and_finished_later(workspace, models, do, name, weak, strong, monkeypatch):
    set_alias = type(models).set_alias

    def killed(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(models), "set_alias", killed)
    with pytest.raises(KeyboardInterrupt):
        register.run(RegisterConfig(run_id=strong, name=name), workspace.tracker)
    monkeypatch.setattr(type(models), "set_alias", set_alias)
    assert models.versions(name)[0].tags[Tag.REGISTRATION] == "pending"
    do(weak)
    assert models.aliased(name, CHAMPION).run_id == weak
    assert "Version 1 becomes champion: it is shown to be better than version 2" in do(strong)
    assert [version.tags[Tag.REGISTRATION] for version in models.versions(name)] == ["done", "done"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run_id": "0" * 32}, "There is no run"),
        ({"study": "0" * 32}, "There is no run"),
        ({"study": "all"}, "--study all: is no study"),
        ({"run_id": "STRONG", "study": "x"}, "takes either --run-id or --study, and got both"),
        ({"run_id": "STRONG", "winner": "cheapest"}, "--winner cheapest: is of a study's rows"),
        ({"run_id": "STRONG", "margin": "0.1"}, "--margin 0.1: goes with --promote no_worse"),
        ({"run_id": "STRONG", "promote": "never"}, "--promote"),
        ({"run_id": "STRONG", "name": "a/b"}, "--name 'a/b': has characters"),
        ({"run_id": "STRONG", "name": " "}, "--name ' ': is no name"),
        ({"run_id": "STRONG", "ranking_metric": "spearman"}, "--ranking-metric spearman: classes are not ranked by it"),
        ({"study": "STRONG"}, "is a run of the stage train, not main"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(workspace, do, strong, options, message):
    before = len(workspace.tracker.search())
    assert message in do(status=2, **{name: strong if value == "STRONG" else value for name, value in options.items()})
    assert len(workspace.tracker.search()) == before, "no run is made"


def test_a_run_that_is_not_tested_not_finished_or_of_another_stage_is_refused(workspace, do, strong):
    untested = workspace.train(strategy="full", seed=5, epochs=1)
    assert f"--run-id {untested}: has no test result" in do(untested, status=2)
    workspace.client.set_terminated(untested, "FAILED")
    assert "did not finish, its status is FAILED" in do(untested, status=2)
    evaluation = workspace.tracker.search({"stage": "evaluate"})[0].run_id
    assert "was made by the stage evaluate, not by train" in do(evaluation, status=2)


def test_a_champion_without_a_run_is_named(workspace, models, do, name, strong):
    workspace.client.create_registered_model(name)
    source = workspace.client.get_run(strong).info.artifact_uri + "/model"
    made = workspace.client.create_model_version(name, source)
    workspace.client.set_registered_model_alias(name, CHAMPION, made.version)
    assert f"models:/{name}/1, the champion, is of no run" in do(strong, status=2)
    assert "without a test" in do(strong, promote="always")


def test_another_metric_decides_anew_and_lost_predictions_are_said_before_anything_is_made(
    workspace, models, do, name, weak, strong
):
    do(strong)
    do(weak)
    assert "Nothing was changed" in do(weak)
    do(weak, ranking_metric="accuracy")
    assert json.loads(models.versions(name)[-1].tags[Tag.PAIRED_TEST])["metric"] == "accuracy"
    other = f"{name}-lost"
    do(strong, name=other)
    artifacts = Path(workspace.client.get_run(strong).info.artifact_uri.removeprefix("file://"))
    kept = (artifacts / "predictions.csv").read_bytes()
    (artifacts / "predictions.csv").unlink()
    before = len(workspace.tracker.search())
    try:
        assert "its predictions.csv cannot be read" in do(weak, status=2, name=other)
    finally:
        (artifacts / "predictions.csv").write_bytes(kept)
    assert len(models.versions(other)) == 1
    assert len(workspace.tracker.search()) == before, "no run is made"
