from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import MainConfig
from pipeline.errors import ConfigError
from pipeline.stages.configure import configure
from pipeline.stages.study.plan import StudyPlan, plan_study
from pipeline.strategies.base import list_strategies


@pytest.fixture
def plan(tiny: Any, tmp_path: Path) -> Any:
    """Plans a study on the tiny encoder; `recipe` is the content of its recipe."""

    def plan(recipe: dict[str, Any] | None = None, **given: object) -> StudyPlan:
        options = {"model": str(tiny.folder()), "dataset": str(tiny.csv()), "precision": "fp32", "epochs": 2}
        content = {"options": options, **(recipe or {})}
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(content))
        typed = {"recipe": str(path), "cache_dir": str(tmp_path / "cache"), **given}
        return plan_study(configure(MainConfig, {name: str(value) for name, value in typed.items()}))

    return plan


def names(plan: StudyPlan) -> set[str]:
    return {inputs.config.strategy for inputs in plan.strategies}


def test_seeds_follow_one_another_and_nothing_else_changes(plan: Any) -> None:
    made = plan(strategies="full,lora", seed=7, seeds=3)
    for inputs in made.strategies:
        trainings = made.trainings(inputs)
        assert [training.config.seed for training in trainings] == [7, 8, 9]
        assert len({training.config_hash("fp32") for training in trainings}) == 3
        assert {training.config.split_seed for training in trainings} == {42}
        assert {training.code_version for training in trainings} == {inputs.code_version}


def test_a_pooling_that_no_strategy_takes_is_refused(plan: Any) -> None:
    with pytest.raises(ConfigError, match=r"--pooling: --objective classification makes no vector .* --objective bi_encoder"):
        plan(strategies="full,lora", pooling="cls")
    assert plan({"strategies": {"full": {"pooling": "cls"}}}).strategies


def test_rows_are_ranked_by_what_they_will_have(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = plan(strategies="full,lora", seeds=2)
    asked = plan({"options": {"ranking_metric": "auroc", **usual_options(usual)}}, strategies="full,lora", seeds=2)
    assert asked.config.ranking_metric == "auroc", "a recipe may say it"
    assert [inputs.identity for inputs in asked.strategies] == [inputs.identity for inputs in usual.strategies]
    assert asked.identity != usual.identity, "the study is another, its trainings are not"
    with pytest.raises(ConfigError, match=r"--ranking-metric: got 'f1'\. Give one of accuracy, "):
        plan(strategies="full", ranking_metric="f1")
    with pytest.raises(ConfigError, match="--ranking-metric pearson: classes are not ranked by it"):
        plan(strategies="full", ranking_metric="pearson")
    monkeypatch.setattr("pipeline.evaluation.statistics.bootstrap.MOST_SORTED", 159)
    with pytest.raises(ConfigError, match=r"auroc: its intervals sort .* 20 texts, 2 classes and 4 runs multiply to more"):
        plan(strategies="full,lora", seeds=2, ranking_metric="auroc")
    assert plan(strategies="full,lora", seeds=2, ranking_metric="nll").strategies
    monkeypatch.setattr("pipeline.evaluation.task.SCORED_CLASSES", 1)
    with pytest.raises(ConfigError, match="nll: is of probabilities, and full, lora will give none"):
        plan(strategies="full,lora", ranking_metric="nll")


def usual_options(plan: StudyPlan) -> dict[str, Any]:
    return {name: getattr(plan.config, name) for name in ("model", "dataset", "precision", "epochs")}


def test_a_study_has_five_seeds_unless_somebody_says_otherwise(plan: Any) -> None:
    assert MainConfig().seeds == 5
    assert len(plan(strategies="full").trainings(plan(strategies="full").strategies[0])) == 5
    assert configure(MainConfig, {"recipe": "quickstart"}).seeds == 1
    assert configure(MainConfig, {"recipe": "sst2"}).seeds == 5
    assert configure(MainConfig, {"recipe": "prefix_vs_full"}).seeds == 5


@pytest.mark.parametrize("given", [{}, {"strategies": "all"}])
def test_without_names_what_cannot_work_is_left_out_with_why(plan: Any, given: dict[str, str]) -> None:
    made = plan(**given)
    assert "gradual" in made.unfit
    assert "--epochs 2 ends before everything trains" in made.unfit["gradual"]
    assert names(made) | set(made.unfit) == set(list_strategies())
    assert not names(made) & set(made.unfit)
    assert len(names(made)) > 10


def test_all_beats_the_strategies_of_the_recipe(plan: Any) -> None:
    recipe = {"strategies": {"full": {}}}
    assert names(plan(recipe)) == {"full"}
    assert len(names(plan(recipe, strategies="all"))) > 10


@pytest.mark.parametrize("recipe", [{}, {"strategies": {"full": {}, "gradual": {}}}])
def test_a_named_strategy_that_cannot_work_stops_the_study(plan: Any, recipe: dict[str, Any]) -> None:
    given = {} if recipe else {"strategies": "full,gradual"}
    with pytest.raises(ConfigError, match=r"(?s)ends before everything trains.*The others can be compared: --strategies full"):
        plan(recipe, **given)


def test_seeds_that_would_all_be_the_same_are_refused(plan: Any) -> None:
    fixed = {"data_seed": 1, "init_seed": 2, "dropout_seed": 3}
    with pytest.raises(ConfigError, match=r"--seeds 2: --data-seed, --init-seed, --dropout-seed are all given"):
        plan(strategies="full", seeds=2, **fixed)
    assert plan(strategies="full", seeds=1, **fixed)
    assert plan(strategies="full", seeds=2, data_seed=1, init_seed=2)


def test_seeds_beyond_the_last_one_are_refused(plan: Any) -> None:
    assert plan(strategies="full", seeds=2, seed=2**32 - 2)
    with pytest.raises(ConfigError, match=r"--seeds 3: the last seed would be 4294967296"):
        plan(strategies="full", seeds=3, seed=2**32 - 2)


@pytest.mark.parametrize("seeds", ["0", "-1", "many", "1.5"])
def test_a_number_of_seeds_that_is_none_is_refused(plan: Any, seeds: str) -> None:
    with pytest.raises(ConfigError, match="--seeds"):
        plan(strategies="full", seeds=seeds)


def test_identity_is_of_all_that_a_study_computes(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    base = plan(strategies="full,lora", seeds=2)
    assert base.identity == plan(strategies="full,lora", seeds=2).identity
    by_hand = ({"seeds": 3}, {"learning_rate": 1e-3}, {"strategies": "full"}, {"force": True}, {"split_seed": 1})
    for changes in (*by_hand, {"num_processes": 2}):
        assert plan(**{"strategies": "full,lora", "seeds": 2, **changes}).identity != base.identity, changes


class TestSeveralModels:
    """Every strategy on every model, in one plan."""

    def test_rows_are_called_by_strategy_and_model(self, plan: Any, tiny: Any) -> None:
        models = [str(tiny.folder(family)) for family in ("bert", "distilbert")]
        made = plan(strategies="full,lora", models=",".join(models))
        assert [made.name(inputs) for inputs in made.strategies] == [
            "full, bert",
            "lora, bert",
            "full, distilbert",
            "lora, distilbert",
        ]
        fingerprints = {inputs.prepared.manifest.fingerprint for inputs in made.strategies}
        assert len(fingerprints) == 1, "the same texts, split alike"
        assert len({inputs.base_sha256 for inputs in made.strategies}) == 2

    def test_an_entry_with_a_model_of_its_own_is_trained_on_that_alone(self, plan: Any, tiny: Any) -> None:
        own, *models = (str(tiny.folder(family)) for family in ("electra", "bert", "distilbert"))
        recipe = {"strategies": {"full": None, "small": {"strategy": "full", "model": own}}}
        made = plan(recipe, models=",".join(models))
        assert [made.name(inputs) for inputs in made.strategies] == ["full, bert", "small, electra", "full, distilbert"]

    def test_a_model_that_was_typed_is_trained_alone(self, plan: Any, tiny: Any) -> None:
        options = {"models": [str(tiny.folder("distilbert"))], "dataset": str(tiny.csv()), "precision": "fp32"}
        made = plan({"options": options}, strategies="full", model=tiny.folder("bert"))
        assert [inputs.config.model for inputs in made.strategies] == [str(tiny.folder("bert"))]
        assert made.config.models == ()

    @pytest.mark.parametrize(("more", "typed"), [({"model": "minilm"}, {}), ({}, {"model_revision": "main"})])
    def test_models_of_a_recipe_stand_beside_nothing_that_only_one_can_have(
        self, plan: Any, tiny: Any, more: dict[str, str], typed: dict[str, str]
    ) -> None:
        options = {"models": [str(tiny.folder("bert"))], "dataset": str(tiny.csv()), "precision": "fp32", **more}
        with pytest.raises(ConfigError, match=r"and --models are both given, the latter by recipe recipe\. Give one of them\."):
            plan({"options": options}, strategies="full", **typed)

    def test_a_pair_that_cannot_work_is_left_out_and_said(self, plan: Any, tiny: Any) -> None:
        made = plan(strategies="prefix,lora", models=f"{tiny.folder('bert')},{tiny.folder('distilbert')}")
        assert [made.name(inputs) for inputs in made.strategies] == ["prefix, bert", "lora, bert", "lora, distilbert"]
        assert list(made.unfit) == ["prefix, distilbert"]

    def test_a_strategy_or_a_model_without_any_pair_is_refused(self, plan: Any, tiny: Any, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="prefix cannot work on distilbert"):
            plan(strategies="prefix,lora", models=f"{tiny.folder('distilbert')},{tiny.folder('albert')}")
        with pytest.raises(ConfigError, match="nowhere") as refused:
            plan(strategies="full,lora", models=f"{tiny.folder('bert')},{tmp_path / 'nowhere'}")
        assert len(refused.value.messages) == 1, "said once, not for every strategy"

    @pytest.mark.parametrize(
        ("models", "more", "message"),
        [
            ("{0},{0}", {}, "is named twice"),
            ("{0},{1}", {"model": "minilm"}, "--model and --models are both given"),
            ("{0},{1}", {"model_revision": "main"}, "--model_revision|--model-revision and --models"),
            ("{0},{2}", {}, "have the same last name"),
        ],
    )
    def test_what_cannot_be_told_apart_is_refused(
        self, plan: Any, tiny: Any, tmp_path: Path, models: str, more: dict[str, str], message: str
    ) -> None:
        folders = tiny.folder("bert"), tiny.folder("distilbert"), tmp_path / "bert"
        with pytest.raises(ConfigError, match=message):
            plan(strategies="full", models=models.format(*folders), **more)
