"""What is declared of metrics, and that nothing else spells it."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

import pipeline
from pipeline.errors import ConfigError
from pipeline.evaluation import metric as declared
from pipeline.evaluation.metric import (
    Answers,
    Counts,
    LabelType,
    Metric,
    list_metrics,
    list_ranking,
    lower_is_better,
    measure,
    ranking,
    ranking_choices,
    resampled,
    selecting,
    selection_choices,
)
from pipeline.evaluation.metrics.macro import F1
from pipeline.evaluation.task import ClassificationTask, ThresholdTask
from pipeline.stages.progress import describe_scores

PACKAGE = Path(pipeline.__file__).parent
Declare = Callable[..., None]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Declare]:
    """Adds metrics for as long as the test lasts."""
    own = [metric for of in get_args(LabelType) for metric in list_metrics(of)]

    def forget() -> None:
        list_metrics.cache_clear()
        declared._only.cache_clear()

    def declare(*metrics: Metric) -> None:
        monkeypatch.setattr(type(declared.METRICS), "instances", lambda registry, cls: [*own, *metrics])
        forget()

    yield declare
    monkeypatch.undo()
    forget()


def test_what_there_is() -> None:
    classes, sets, scores = list_metrics("class"), list_metrics("multi"), list_metrics("score")
    assert [metric.name for metric in classes] == [
        *("accuracy", "balanced_accuracy", "nll", "precision_macro", "recall_macro", "f1_macro"),
        *("mcc", "auroc", "average_precision", "f1_weighted"),
    ]
    assert [metric.name for metric in scores] == ["spearman", "pearson"]
    assert [metric.name for metric in sets] == [
        *("f1_macro", "f1_micro", "f1_samples", "subset_accuracy", "hamming_loss", "average_precision", "auroc")
    ]
    of_sets_alone = [metric for metric in sets if metric.name not in {"f1_macro", "auroc", "average_precision"}]
    assert list_metrics() == (*classes, *of_sets_alone, *scores), "a name once"
    assert [ranking(of).name for of in get_args(LabelType)] == ["f1_macro", "f1_macro", "spearman"]
    assert [selecting(of).name for of in get_args(LabelType)] == ["accuracy", "f1_macro", "spearman"]
    assert (resampled("class"), resampled("multi"), resampled("score")) == (classes, sets, ())
    assert [list_ranking(of) for of in get_args(LabelType)] == [list_metrics(of) for of in get_args(LabelType)]
    assert ranking_choices() == tuple(metric.name for metric in list_metrics())
    assert selection_choices() == (*(metric.name for metric in list_metrics()), "loss")
    assert [name for name in selection_choices() if lower_is_better(name)] == ["nll", "hamming_loss", "loss"]
    assert not lower_is_better("of another version")


def test_names_are_known_without_any_library() -> None:
    code = (
        "import sys; from pipeline.evaluation.metric import selection_choices; print(*selection_choices());"
        "import pipeline.tracking.results;"
        "sys.exit(bool({'torch', 'numpy', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(selection_choices())


@given(st.integers(2, 20), st.integers(1, 40), st.integers(0, 1000))
def test_what_is_computed_from_counts_is_what_is_computed_from_answers(classes: int, texts: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    gold, predicted = generator.integers(classes, size=(2, texts))
    answers = Answers(gold, predicted, classes)
    counted = [metric for metric in resampled("class") if metric.from_counts]
    assert {"f1_macro", "precision_macro", "recall_macro"} <= {metric.name for metric in counted}
    for metric in counted:
        assert metric.of_counts(Counts.once(answers)) == pytest.approx(metric.of_answers(answers), abs=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "more than one metric of the name f1_macro"),
        ({"name": "loss", "ranks": False}, "more than one metric of the name loss"),
        ({"name": "other"}, r"Of metrics of class labels just one must have ranks=True, not \['f1_macro', 'other'\]"),
        ({"name": "other", "ranks": False, "selects": True}, r"just one must have selects=True, not \['accuracy', 'other'\]"),
        ({"name": "other", "from_counts": None}, "Metric other: .* ranks needs from_counts"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(declare: Declare, changes: dict[str, Any], message: str) -> None:
    def roles() -> tuple[Metric, Metric]:
        declare(replace(F1, **changes))
        return ranking("class"), selecting("class")

    with pytest.raises(TypeError, match=message):
        roles()


def test_a_file_must_declare_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.py").write_text("from pipeline.evaluation.metric import Metric\n")
    monkeypatch.setattr("pipeline.evaluation.metrics.__path__", [str(tmp_path)])
    with pytest.raises(TypeError, match=r"pipeline\.evaluation\.metrics\.empty must define a Metric"):
        declared.METRICS.instances(Metric)
    sys.modules.pop("pipeline.evaluation.metrics.empty")


def _surprise(answers: Answers) -> float:
    assert answers.probabilities is not None
    return float(log_loss(answers.gold, answers.probabilities(), labels=range(answers.classes)))


SURPRISE = Metric(
    "surprise",
    "surprise",
    "class",
    _surprise,
    greater_is_better=False,
    uses_probabilities=True,
    is_prominent=True,
    form="{:.2f}",
)


def test_a_metric_of_probabilities_is_left_out_where_there_are_none(declare: Declare) -> None:
    declare(SURPRISE)
    gold, logits = np.array([0, 1, 2, 1]), np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    task = ClassificationTask(("a", "b", "c"))
    assert "surprise" in task.metrics
    assert "surprise" not in ThresholdTask(("a", "b")).metrics
    found = task.score(gold, logits)
    assert found["surprise"] == pytest.approx(found["loss"], abs=1e-6), "which it is"
    report = task.test(list("abcd"), gold, lambda inputs: logits[: len(inputs)], ["a", "b", "c"], "a model")
    assert report.metrics["surprise"] == pytest.approx(found["loss"], abs=1e-6)
    assert "surprise" not in report.tables["per_length.csv"]
    assert "surprise" not in measure(Answers(gold, gold, 3))
    assert lower_is_better("surprise")
    assert describe_scores(found).endswith(f"surprise {found['surprise']:.2f}")


def test_a_metric_of_another_name_is_no_choice() -> None:
    from pipeline.config import TrainConfig
    from pipeline.stages.configure import configure

    message = f"--metric-for-best-model: got 'f1'. Give one of {', '.join(selection_choices())} (default accuracy)."
    with pytest.raises(ConfigError, match=re.escape(message)):
        configure(TrainConfig, {"metric_for_best_model": "f1"})
    assert configure(TrainConfig, {}).metric_for_best_model == "accuracy"
    assert configure(TrainConfig, {"label_type": "score"}).metric_for_best_model == "spearman"
    assert configure(TrainConfig, {"label_type": "multi"}).metric_for_best_model == "f1_macro"


def spelled(tree: ast.AST) -> Iterator[str]:
    """Identifiers and strings of a module, those that are only said to its reader left out."""
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value
        yield from (name for field in ("id", "attr", "arg") if isinstance(name := getattr(node, field, None), str))


def test_no_metric_is_named_outside_its_file() -> None:
    """Accuracy is a word besides: of McNemar's test, of a bin of confidence."""
    names = {metric.name for metric in list_metrics()} - {"accuracy"}
    word = re.compile(rf"(?<![a-z])({'|'.join(names)})(?![a-z])")
    assert word.search("test/f1_macro")
    named = {
        path.relative_to(PACKAGE).as_posix(): {text for text in spelled(ast.parse(path.read_text())) if word.search(text)}
        for path in PACKAGE.rglob("*.py")
    }
    own = {path for path, texts in named.items() if texts}
    assert own >= {"evaluation/metrics/macro.py", "evaluation/metrics/correlation.py"}
    # What a guess reaches by macro F1, and how far a rank correlation may be off, is known of these alone.
    assert {path for path in own if not path.startswith("evaluation/metrics/")} == {"evaluation/statistics/chance.py"}
