"""Every strategy trains pairs of texts, as a bi-encoder and as a cross-encoder, and comes back the same."""

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pairs import AT_REST, EVERYWHERE, FAMILIES, HAS_BITSANDBYTES, STRATEGIES, fewest_epochs, make, moved, snapshot
from plain_models import UNLIKE

from pipeline.data.columns import Problem
from pipeline.modeling.loading import load_tokenizer
from pipeline.modeling.model_sources import find_model
from pipeline.objectives.base import Tokenization, create_objective, list_objectives
from pipeline.strategies.base import create_strategy, strategy_arguments
from pipeline.training.saved_model import FineTunedModel, ModelRecord, write_model_folder

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

WORDS = ("fine", "great", "dull", "grim", "film", "plot", "story", "scene")
INPUTS = [(f"{a} {b} {c}", f"{b} the {a}") for a in WORDS for b in WORDS for c in WORDS[:2]]
PROBLEMS = {
    "scores": Problem((), (0.0, 5.0), True),
    "two": Problem(("different", "same"), None, True),
    "three": Problem(("contradiction", "entailment", "neutral"), None, True),
    "labels": Problem(("dull", "fine", "plot"), None, True, multi=True),
}
NO_HEAD = {"head_only", "gradual", "linear_probe"}
"""What trains a head alone, at least at first; where there is none they are refused."""
USABLE = [name for name in STRATEGIES if name != "qlora" or HAS_BITSANDBYTES]
CASES = [
    (objective, problem, name, "bert", "mean")
    for objective, problem in (
        ("bi_encoder", "scores"),
        ("bi_encoder", "three"),
        ("classification", "scores"),
        ("classification", "labels"),
    )
    for name in USABLE
    if not (objective == "bi_encoder" and problem == "scores" and name in NO_HEAD)
    and not (problem in ("scores", "labels") and create_strategy(name, {}).solves_head)
    and not (objective == "bi_encoder" and create_strategy(name, {}).contrasts)
]
QUICK = [case for case in CASES if case[2] in EVERYWHERE or case[:2] == ("bi_encoder", "scores")]
"""What `make test` takes of them: every strategy once, and those of `EVERYWHERE` with every problem."""
OTHERS = [
    *(("bi_encoder", "two", "partial", "bert", pooling) for pooling in ("cls", "max")),
    ("bi_encoder", "three", "head_only", "bert", "cls"),
    *(("bi_encoder", "scores", "full", family, "mean") for family in FAMILIES if family != "bert"),
    *(("classification", "two", "full", family, "mean") for family in FAMILIES),
]
"""Other poolings and architectures."""
LABELLED = [("classification", "labels", name, family, "mean") for family in FAMILIES for name in ("full", "lora")]
"""Label sets on every architecture."""
RELOAD = """
import sys
from pathlib import Path
import numpy as np
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent)]
from test_objectives import INPUTS
from pipeline.training.saved_model import load_model_folder

for folder in map(Path, sys.argv[2:]):
    np.save(folder / "reloaded.npy", load_model_folder(folder).predict(INPUTS))
"""


def labels_of(problem: Problem) -> np.ndarray:
    if problem.multi:
        sets = np.empty(len(INPUTS), object)
        sets[:] = [[label for label, word in enumerate(problem.classes) if word in " ".join(pair)] for pair in INPUTS]
        return sets
    return np.arange(len(INPUTS)) % (len(problem.classes) or 6)


def train(
    tiny,
    tmp_path,
    objective_name,
    problem_name,
    name,
    family="bert",
    pooling="mean",
    watcher=None,
    strategy=None,
    head="pooler",
    **changes,
):
    problem = PROBLEMS[problem_name]
    objective = create_objective(objective_name, problem, pooling, head)
    folder, epochs = tiny.folder(family), max(2, fewest_epochs(name))
    address = find_model(str(folder))
    metric = objective.task.metrics[0]
    strategy, config = strategy or make(name), tiny.config(epochs=epochs, metric_for_best_model=metric, head=head)
    tokenizer = load_tokenizer(address)
    table = objective.encode(INPUTS, Tokenization(tokenizer, 40), address.encoder)
    table = replace(table, labels=objective.task.targets(labels_of(problem)))
    built = tiny.build(strategy, folder, config, total_steps=epochs, objective=objective)
    before = snapshot(built.model)
    model = FineTunedModel(built.model, tokenizer, objective, objective.task, 40, built.context.encoder)
    result = tiny.fit(
        built,
        config,
        tmp_path / "checkpoints" / f"{objective_name}-{problem_name}-{name}-{family}-{pooling}",
        watcher=watcher,
        train=table.subset(np.arange(8)),
        validation=table.subset(np.arange(8, 40)),
        task=objective.task,
        **changes,
    )
    record = ModelRecord(
        base=str(folder),
        base_revision=None,
        base_sha256=address.sha256(),
        strategy=name,
        strategy_args=strategy_arguments(strategy),
        classes=list(problem.classes),
        max_length=40,
        dropout=config.dropout,
        epochs=config.epochs,
        total_steps=epochs,
        head=head,
        objective=objective_name,
        pooling=pooling,
        score_range=list(problem.score_range) if problem.score_range else None,
        pairs=True,
        multi=problem.multi,
        validation=dict(result.best),
    )
    return built, model, record, before, result


def test_the_objectives_are_found() -> None:
    assert {"classification", "bi_encoder"} <= set(list_objectives())
    assert len(CASES) > 30


@dataclass(frozen=True)
class Trained:
    """What was seen of a case while it was trained and saved."""

    trainable: set[str]
    moved: set[str]
    best: dict[str, float]
    ends_with_best: bool
    """Whether its weights are those of the last step."""
    has_head: bool
    outputs: np.ndarray
    folder: Path


@pytest.fixture(scope="module")
def train_case(tiny, tmp_path_factory) -> Callable[..., Trained]:
    """Trains and saves a case, once for all tests: `train_case(objective, problem, strategy, family, pooling)`."""

    @functools.cache
    def train_case(*case):
        folder = tmp_path_factory.mktemp("case")
        built, model, record, before, result = train(tiny, folder, *case)
        write_model_folder(folder / "saved", built, record)
        return Trained(
            trainable={parameter.name for parameter in built.parameters.trainable},
            moved=moved(before, snapshot(built.model)),
            best=dict(result.best),
            ends_with_best=result.best_step == result.steps,
            has_head=any(parameter.location.part == "head" for parameter in built.parameters.parameters),
            outputs=model.predict(INPUTS),
            folder=folder / "saved",
        )

    return train_case


@pytest.mark.parametrize(
    ("objective", "problem", "name", "family", "pooling"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES],
)
def test_training_moves_just_what_is_declared(train_case, objective, problem, name, family, pooling):
    trained = train_case(objective, problem, name, family, pooling)
    assert trained.trainable
    assert {"loss"} | set(create_objective(objective, PROBLEMS[problem], "mean").task.metrics) <= set(trained.best)
    declared = trained.trainable
    if name in AT_REST:
        declared = {parameter for parameter in declared if AT_REST[name] not in parameter}
    if trained.ends_with_best:
        assert declared <= trained.moved
    assert trained.moved <= trained.trainable
    assert trained.has_head == (objective == "classification" or problem == "three")


@pytest.mark.parametrize("name", sorted(NO_HEAD & set(STRATEGIES)))
def test_what_trains_a_head_alone_is_refused_where_there_is_none(tiny, name):
    from pipeline.errors import ConfigError

    address = find_model(str(tiny.folder()))
    for problem in ("scores", "two"):
        objective = create_objective("bi_encoder", PROBLEMS[problem], "mean")
        phases = make(name).phases(tiny.context(tiny.folder(), tiny.config(epochs=3), 3, objective))
        with pytest.raises(ConfigError, match=f"--strategy {name}: trains the head alone"):
            objective.check(address, make(name), phases)
    create_objective("bi_encoder", PROBLEMS["three"], "mean").check(address, make(name), phases)


def test_a_solver_of_classes_is_refused_for_scores(tiny):
    from pipeline.errors import ConfigError

    objective = create_objective("classification", PROBLEMS["scores"], "mean")
    strategy = make("linear_probe")
    phases = strategy.phases(tiny.context(tiny.folder(), tiny.config(), 1, objective))
    with pytest.raises(ConfigError, match=r"--strategy linear_probe: solves for a classifier .* scores of pairs of texts"):
        objective.check(find_model(str(tiny.folder())), strategy, phases)


@pytest.mark.parametrize("name", ["linear_probe", "setfit"])
def test_a_solver_of_classes_is_refused_for_label_sets(tiny, name):
    from pipeline.errors import ConfigError

    objective = create_objective("classification", PROBLEMS["labels"], "mean")
    strategy = make(name)
    phases = strategy.phases(tiny.context(tiny.folder(), tiny.config(), 1, objective))
    with pytest.raises(ConfigError, match=rf"--strategy {name}: .* one class a text, and --label-type multi .* head_only"):
        objective.check(find_model(str(tiny.folder())), strategy, phases)


def test_a_bi_encoder_of_label_sets_is_refused():
    from pipeline.errors import ConfigError

    with pytest.raises(
        ConfigError, match=r"--objective bi_encoder: .* any number of labels\. Choose --objective classification"
    ):
        create_objective("bi_encoder", PROBLEMS["labels"], "mean")


@pytest.mark.parametrize("name", ["attention", "mean", "mlp"])
def test_a_head_is_refused_where_the_objective_has_its_own(name):
    from pipeline.errors import ConfigError

    said = f"--head {name}: --objective bi_encoder puts no head of that kind .* Leave --head out"
    with pytest.raises(ConfigError, match=said):
        create_objective("bi_encoder", PROBLEMS["scores"], "mean", name)


@pytest.mark.parametrize("problem", ["scores", "labels"])
@pytest.mark.parametrize("head", ["attention", "mean", "mlp"])
def test_a_cross_encoder_takes_every_head(tiny, tmp_path, head, problem):
    built, *_, result = train(tiny, tmp_path, "classification", problem, "full", head=head)
    assert built.context.encoder.head == head
    assert np.isfinite(result.best["loss"])
    assert any(parameter.name.startswith("classifier.") for parameter in built.parameters.trainable)


@pytest.mark.parametrize("name", [name for name in USABLE if name not in NO_HEAD and not make(name).contrasts])
def test_what_trains_more_than_a_head_is_not_refused(tiny, name):
    objective = create_objective("bi_encoder", PROBLEMS["scores"], "mean")
    config = tiny.config(epochs=3)
    phases = make(name).phases(tiny.context(tiny.folder(), config, 3, objective))
    objective.check(find_model(str(tiny.folder())), make(name), phases)


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param([*QUICK, *(case for case in OTHERS if case[3] in UNLIKE)], id="quick"),
        pytest.param(
            [
                case
                for case in [*CASES, *OTHERS, *LABELLED]
                if case not in QUICK and (case not in OTHERS or case[3] not in UNLIKE)
            ],
            id="rest",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_fresh_process_reloads_every_model_with_the_same_outputs(train_case, cases):
    assert len(cases) > 25
    all_trained = [train_case(*case) for case in cases]
    for trained, case in zip(all_trained, cases, strict=True):
        assert np.isfinite(trained.outputs).all()
        assert np.ptp(trained.outputs) > 1e-4, case
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    folders = [str(trained.folder) for trained in all_trained]
    command = [sys.executable, "-c", RELOAD, str(Path(__file__).parent), *folders]
    subprocess.run(command, check=True, env=environment, timeout=900)
    for trained, case in zip(all_trained, cases, strict=True):
        np.testing.assert_array_equal(np.load(trained.folder / "reloaded.npy"), trained.outputs, err_msg=str(case))


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize("objective", ["bi_encoder", "classification"])
def test_frozen_layers_from_the_cache_change_nothing(tiny, tmp_path, watch, objective, pooling):
    from pipeline.training.activation_cache import ActivationCache

    torch.manual_seed(0)
    logs = []
    for cache in (None, ActivationCache(tmp_path / "states", 10**9)):
        watcher = watch()
        problem = "two" if objective == "bi_encoder" else "scores"
        folder = tmp_path / str(cache is None)
        result = train(
            tiny,
            folder,
            objective,
            problem,
            "partial",
            pooling=pooling,
            watcher=watcher,
            strategy=create_strategy("partial", {"top_k": 2}),
            activation_cache=cache,
            base_identity="x",
        )[-1]
        assert result.cache == ("unused" if cache is None else "built")
        logs.append([metrics["train/loss"] for _, metrics in watcher.logs if "train/loss" in metrics])
    assert logs[0]
    np.testing.assert_allclose(*logs, rtol=1e-4)
