"""The losses against those that transformers and peft compute, which a model is not asked for."""

import pytest
import torch

from pipeline.evaluation.task import ClassificationTask, RegressionTask, Task, ThresholdTask
from pipeline.objectives.loss import Loss, create_loss
from pipeline.registry import LOSSES
from pipeline.strategies.base import create_strategy

TASKS = [ClassificationTask(("a", "b", "c")), RegressionTask(0.0, 5.0), ThresholdTask(("a", "b"))]
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
        is_class = ClassificationTask in loss.tasks
        targets, of = (torch.arange(10) % 3, outputs) if is_class else (torch.linspace(0, 1, 10), outputs[:, :1])
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
