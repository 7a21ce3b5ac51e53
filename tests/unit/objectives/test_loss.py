"""The losses against those that transformers and peft compute, which a model is not asked for."""

import pytest
import torch

from pipeline.evaluation.multi_label import MultiLabelTask
from pipeline.evaluation.task import ClassificationTask, RegressionTask, Task, ThresholdTask
from pipeline.objectives.loss import Loss, create_loss
from pipeline.registry import LOSSES
from pipeline.strategies.base import create_strategy

TASKS = [ClassificationTask(("a", "b", "c")), RegressionTask(0.0, 5.0), ThresholdTask(("a", "b")), MultiLabelTask(("a", "b"))]
IDS = torch.randint(20, 150, (6, 7), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_a_task_has_a_loss_of_its_outputs(task: Task) -> None:
    loss = create_loss(task)
    assert isinstance(task, loss.tasks)
    assert type(loss).__module__ == LOSSES.module_name(task.loss)


def test_the_mean_is_over_examples() -> None:
    assert len(LOSSES.names()) >= 2
    outputs = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    for name in LOSSES.names():
        loss = LOSSES.only_class(name, Loss)()
        targets, of = torch.linspace(0, 1, 10), outputs[:, :1]
        if ClassificationTask in loss.tasks:
            targets, of = torch.arange(10) % 3, outputs
        elif MultiLabelTask in loss.tasks:
            targets, of = (outputs > 0).float().flip(0), outputs
        each = loss.compare(of, targets, "none")
        assert each.shape == (10,)
        torch.testing.assert_close(loss(of, targets), each.mean())


@pytest.mark.parametrize(("classes", "scores"), [(("a", "b", "c"), None), ((), (0.0, 1.0))], ids=["classes", "scores"])
def test_it_is_bit_equal_to_what_the_model_computes(tiny, classes, scores) -> None:
    objective = tiny.objective(classes=classes, score_range=scores)
    model = tiny.build(create_strategy("full", {}), tiny.folder(), tiny.config(), objective=objective).model.eval()
    labels = torch.linspace(0, 1, 6) if scores else torch.arange(6) % 3
    expected = model(input_ids=IDS, labels=labels)
    assert torch.equal(create_loss(objective.task)(expected.logits, labels), expected.loss)


def test_label_sets_are_trained_as_by_a_model_of_that_problem_type(tiny) -> None:
    objective = tiny.objective(classes=("a", "b", "c"), multi=True)
    model = tiny.build(create_strategy("full", {}), tiny.folder(), tiny.config(), objective=objective).model.eval()
    model.config.problem_type = "multi_label_classification"
    labels = (torch.rand(6, 3, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    expected = model(input_ids=IDS, labels=labels)
    torch.testing.assert_close(create_loss(objective.task)(expected.logits, labels), expected.loss)


def test_the_penalty_of_adalora_is_peft_s(tiny) -> None:
    strategy = create_strategy("adalora", {})
    model = tiny.build(strategy, tiny.folder(), tiny.config(), total_steps=20).model.eval()
    labels = torch.arange(6) % 2
    whole = model(input_ids=IDS, labels=labels)
    alone = create_loss(ClassificationTask(("a", "b")))(whole.logits, labels)
    penalty = strategy.penalty(model)
    assert penalty is not None
    assert torch.equal(alone + penalty, whole.loss)
    assert penalty > 0.1


def test_a_method_adds_nothing_by_default(tiny) -> None:
    assert create_strategy("lora", {}).penalty(torch.nn.Linear(1, 1)) is None
