"""Steps as CUDA graphs: when a shape is captured, what a replay is given, and what follows when capturing fails.

The CUDA calls are replaced: a capture keeps what it is to replay, and a replay does it. One test takes a real GPU.
"""

import contextlib
from types import SimpleNamespace

import pytest
import torch

from pipeline.config import FitConfig
from pipeline.config.fields import describe_fields
from pipeline.data.batching import Batch
from pipeline.strategies.base import create_strategy
from pipeline.training.acceleration.base import Target
from pipeline.training.acceleration.patches import cuda_graphs
from pipeline.training.acceleration.patches.cuda_graphs import CudaGraphs, StepGraphs
from pipeline.training.distributed import ALONE
from pipeline.training.optimizer import set_learning_rate


class FakeGraph:
    """Keeps a step, and takes it when it is replayed."""

    recording = None
    kept = None

    def replay(self):
        self.kept()


@pytest.fixture
def cuda(monkeypatch):
    """torch.cuda without a GPU; what was done to its generator and stream."""
    seen = SimpleNamespace(generators=[], streams=[], error=None)

    @contextlib.contextmanager
    def capture(graph, pool):
        assert pool == "pool"
        FakeGraph.recording = graph
        try:
            yield
            if seen.error:
                raise RuntimeError(seen.error)
        finally:
            FakeGraph.recording = None

    generator = SimpleNamespace(clone_state=lambda: "spare", graphsafe_set_state=seen.generators.append)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "stream")
    monkeypatch.setattr(torch.cuda, "set_stream", seen.streams.append)
    monkeypatch.setattr(torch.cuda, "default_generators", [generator])
    return seen


class Training:
    """One weight vector that learns to predict labels from sums of the inputs."""

    def __init__(self):
        self.weight = torch.nn.Parameter(torch.tensor([0.5, -0.25]))
        self.bias = torch.nn.Parameter(torch.tensor(0.1))
        groups = [
            {"params": [self.weight], "lr_multipliers": (1.0,)},
            {"params": [self.bias], "lr_multipliers": (0.5,), "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, fused=True)
        self.eager, self.out = 0, torch.zeros(())  # where a graph leaves its loss

    def step(self, batch):
        """Taken at once, or kept for replays while a graph is recorded."""
        if FakeGraph.recording is not None:
            assert all(group["capturable"] for group in self.optimizer.param_groups)
            rates = [group["lr"] for group in self.optimizer.param_groups]
            FakeGraph.recording.kept = lambda: self.out.copy_(self.take(batch, rates))
            return torch.zeros(())
        self.eager += 1
        return self.take(batch, None)

    def take(self, batch, rates):
        """The step itself; with rates as a graph has them, tensors that were there when it was captured."""
        numbers = [group["lr"] for group in self.optimizer.param_groups]
        for group, rate in zip(self.optimizer.param_groups, rates or numbers, strict=True):
            group["lr"] = rate
        sums = torch.stack([batch.inputs["input_ids"].sum(1), batch.inputs["attention_mask"].sum(1)], 1).float()
        loss = (sums @ self.weight + self.bias - batch.labels).square().mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        for group, number in zip(self.optimizer.param_groups, numbers, strict=True):
            group["lr"] = number
        return loss.detach()


def batches(count, lengths=(8, 16)):
    generator = torch.Generator().manual_seed(3)
    made = []
    for number in range(count):
        length = lengths[number % len(lengths)]
        ids = torch.randint(0, 3, (4, length), generator=generator)
        made.append(
            Batch({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, torch.arange(4.0), 4 * length, (4, length))
        )
    return made


def train(training, run, count=40, phase_of=lambda _: 0):
    losses = []
    for number, batch in enumerate(batches(count)):
        set_learning_rate(training.optimizer, 0.05 * (1 - number / count), 0)
        losses.append(float(run(training.step, batch, phase_of(number))))
    return losses


def expected():
    training = Training()
    return train(training, lambda step, batch, _: step(batch)), training


def test_replays_train_as_steps_do(cuda) -> None:
    training = Training()
    graphs = StepGraphs(training.optimizer, 40)
    training.out = graphs._loss
    losses = train(training, graphs.run)
    plain, reference = expected()
    assert graphs.captured == 2
    assert training.eager == 4
    torch.testing.assert_close(losses, plain)
    torch.testing.assert_close(training.weight, reference.weight)
    torch.testing.assert_close(training.bias, reference.bias)


def test_rates_are_numbers_between_steps(cuda) -> None:
    training = Training()
    graphs = StepGraphs(training.optimizer, 40)
    train(training, graphs.run)
    state = training.optimizer.state_dict()["param_groups"]
    assert [type(group["lr"]) for group in state] == [float, float]
    assert [group["capturable"] for group in state] == [False, False]


def test_a_shape_that_comes_too_seldom_is_never_captured(cuda) -> None:
    training = Training()
    graphs = StepGraphs(training.optimizer, 12)
    train(training, graphs.run, count=12)
    assert graphs.captured == 0
    assert training.eager == 12


def test_each_phase_has_graphs_of_its_own(cuda) -> None:
    training = Training()
    graphs = StepGraphs(training.optimizer, 80)
    train(training, graphs.run, 80, phase_of=lambda number: number // 40)
    assert graphs.captured == 2
    assert training.eager == 8


def test_training_goes_on_where_capturing_fails(cuda, caplog) -> None:
    cuda.error = "operation not permitted when stream is capturing\nmore"
    training = Training()
    graphs = StepGraphs(training.optimizer, 40)
    losses = train(training, graphs.run)
    plain, reference = expected()
    assert graphs.failed
    assert (cuda.streams, cuda.generators) == (["stream"], ["spare"])
    assert training.eager == 40
    torch.testing.assert_close(losses, plain)
    torch.testing.assert_close(training.weight, reference.weight)
    assert caplog.messages == [
        "Steps go on without CUDA graphs, which this model does not allow (operation not permitted when stream is capturing)."
    ]


def test_an_error_outside_capturing_is_not_hidden(cuda) -> None:
    def fail(_batch):
        raise RuntimeError("of the step itself")

    with pytest.raises(RuntimeError, match="of the step itself"):
        StepGraphs(Training().optimizer, 40).run(fail, batches(1)[0], 0)


@pytest.mark.parametrize(
    ("changes", "applies"),
    [
        ({}, True),
        ({"device": "cpu"}, False),
        ({"precision": "fp16"}, False),
        ({"num_processes": 2}, False),
        ({"gradient_accumulation_steps": 2}, False),
        ({"gradient_checkpointing": True}, False),
        ({"auto_batch": True}, False),
        ({"optimizer": "adafactor"}, False),
        ({"strategy": "adalora"}, False),
        ({"cuda_graphs": "off"}, False),
        ({"dtype": torch.uint8}, False),
    ],
    ids=str,
)
def test_where_graphs_apply(changes, applies) -> None:
    given = {"device": "cuda", "precision": "bf16", "strategy": "full", "dtype": torch.float32, **changes}
    options = {name: value for name, value in changes.items() if name in describe_fields(FitConfig) and name != "precision"}
    weight = torch.nn.Parameter(torch.zeros(1, dtype=given["dtype"]), requires_grad=False)
    plan = SimpleNamespace(
        config=FitConfig(**options),
        precision=given["precision"],
        strategy=create_strategy(given["strategy"], {}),
        model=SimpleNamespace(parameters=lambda: [weight]),
    )
    assert CudaGraphs().applies(Target(plan.model, None, torch.device(given["device"]), plan)) is applies


def test_a_model_that_only_predicts_takes_no_steps() -> None:
    assert not CudaGraphs().applies(Target(torch.nn.Identity(), None, torch.device("cuda")))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_training_on_a_gpu_is_equal_but_for_rounding(tiny, tmp_path, watch, monkeypatch) -> None:
    made = []
    monkeypatch.setattr(cuda_graphs, "_WORTH", 1)
    before = StepGraphs.__init__
    monkeypatch.setattr(StepGraphs, "__init__", lambda self, *given: (before(self, *given), made.append(self))[0])
    losses = {}
    for graphs in ("auto", "off"):
        watcher = watch()
        config = tiny.config(epochs=6, dropout=0.0, logging_steps=1, cuda_graphs=graphs)
        built = tiny.build(create_strategy("full", {}), tiny.folder(), config)
        losses[graphs] = tiny.fit(built, config, tmp_path / graphs, rows=40, watcher=watcher).train_loss_mean
    assert made[0].captured > 0
    assert losses["auto"] == pytest.approx(losses["off"], rel=1e-3)


def test_a_process_alone_is_of_size_one() -> None:
    assert ALONE.size == 1
