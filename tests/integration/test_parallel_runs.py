"""One training by two processes computes what one process computes: losses by step, validation metrics, final weights."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from process_tree import are_gone, descendants

from pipeline.errors import PipelineError, ProcessLostError
from pipeline.modeling.model_sources import find_model
from pipeline.stages.processes.launcher import run_processes
from pipeline.strategies.base import StrategyContext, create_strategy
from pipeline.tracking.tags import Tag
from pipeline.training.activation_cache import GIB, ActivationCache
from pipeline.training.checkpoints import CheckpointFolder, trained_state
from pipeline.training.distributed import ProcessGroup
from pipeline.training.loop import fit
from pipeline.training.plan import FitPlan
from pipeline.training.saved_model import build_model
from pipeline.training.seeding import Seeds

ROOT = Path(__file__).parents[2]
SETTINGS = {"dropout": 0.0, "epochs": 2, "learning_rate": 1e-3, "max_grad_norm": 0.5, "eval_steps": 2}
ARGUMENTS = {
    "gradual": {"head_epochs": 1, "top_epochs": 1},
    "partial": {"top_k": 2},
    "adalora": {"interval": 1},
    "prompt": {"num_virtual_tokens": 4},
    "prefix": {"num_virtual_tokens": 4},
}


class Recorder:
    """An observer that keeps what it is told."""

    def __init__(self, stops_at=None):
        self.logs, self.steps, self.stops_at = [], [], stops_at

    def on_step(self, step, total_steps):
        self.steps.append(step)

    def on_log(self, step, metrics):
        self.logs.append((step, dict(metrics)))

    def check(self):
        pass

    def on_cache_progress(self, examples, total):
        pass

    def should_stop(self):
        return self.stops_at is not None and self.steps[-1] >= self.stops_at


class Case:
    """A training, described by what can be handed to another process."""

    def __init__(
        self, tiny, strategy, rows=21, family="bert", stops_at=None, objective="classification", in_pieces=False, **options
    ):
        self.strategy, self.folder, self.stops_at = strategy, tiny.folder(family), stops_at
        made = tiny.pieces if in_pieces else tiny.pairs if objective == "bi_encoder" else tiny.table
        self.train, self.validation = made(rows), made(13, seed=1)
        self.objective = tiny.objective(objective, pairs=objective == "bi_encoder")
        self.config = tiny.config(**{**SETTINGS, **options})

    def run(self, scratch, num_processes):
        """What the training reports, and the weights that it ends with."""
        config = replace(self.config, num_processes=num_processes)
        seeds, address = Seeds.of(config), find_model(str(self.folder))
        steps = -(-len(self.train.lengths) // config.batch_size) * config.epochs
        encoder, task = self.objective.encoder(address), self.objective.peft_task
        context = StrategyContext(encoder, config.epochs, steps, config.dropout, peft_task=task)
        strategy = create_strategy(self.strategy, ARGUMENTS.get(self.strategy, {}))
        built = build_model(address, strategy, context, self.objective, seeds.head, seeds.adapters)
        recorder = Recorder(self.stops_at)
        plan = FitPlan(
            model=built.model,
            encoder=context.encoder,
            parameters=built.parameters,
            train=self.train,
            validation=self.validation,
            task=self.objective.task,
            pad_id=built.model.config.pad_token_id,
            config=config,
            precision="fp32",
            checkpoints=CheckpointFolder(scratch / "checkpoints"),
            strategy=strategy,
            activation_cache=ActivationCache(scratch / "states", GIB),
            base_identity="tiny",
        )
        result = fit(plan, recorder)
        weights = {name: value.numpy() for name, value in trained_state(built.model, built.parameters).items()}
        return {"logs": recorder.logs, "weights": weights, "result": result, "threads": torch.get_num_threads()}


def run_all(rank, cases, scratch, answers):
    """In each of the processes: all trainings, one after another."""
    ProcessGroup.destroy = lambda self: None  # whoever was started together can meet once only
    found = {name: case.run(scratch / name, num_processes=2) for name, case in cases.items()}
    torch.save({name: each["weights"] for name, each in found.items()}, answers / f"{rank}.pt")
    return found


STRATEGIES = ["adalora", "discriminative", "full", "gradual", "lora", "partial", "prefix", "prompt", "random_subset"]
OTHERS = {
    "smaller batch than processes": {"strategy": "lora", "rows": 5, "batch_size": 2, "epochs": 2},
    "stopped": {"strategy": "full", "stops_at": 3, "logging_steps": 2, "eval_steps": 5},
    "roberta": {"strategy": "full", "family": "roberta"},
    "modernbert": {"strategy": "gradual", "family": "modernbert", "epochs": 3},
    "bi_encoder": {"strategy": "full", "objective": "bi_encoder"},
    "bi_encoder, frozen below": {"strategy": "partial", "objective": "bi_encoder"},
    "distilbert": {"strategy": "bitfit", "family": "distilbert"},
    "in pieces": {"strategy": "gradual", "epochs": 3, "gradient_accumulation_steps": 3, "lr_scheduler_type": "cosine"},
    "computed anew": {"strategy": "lora", "gradient_accumulation_steps": 2, "gradient_checkpointing": True},
    "long texts in windows": {"strategy": "partial", "in_pieces": True},
}
NAMES = [*STRATEGIES, *(name for name in OTHERS if name != "stopped")]


@pytest.fixture(scope="module")
def both(tiny, tmp_path_factory):
    """Every training by one process and by two, started once for all."""
    cases = {name: Case(tiny, name, epochs=3 if name == "gradual" else 2) for name in STRATEGIES}
    cases |= {name: Case(tiny, **options) for name, options in OTHERS.items()}
    alone, together, answers = (tmp_path_factory.mktemp(name) for name in ("alone", "together", "answers"))
    expected = {name: case.run(alone / name, num_processes=1) for name, case in cases.items()}
    found = run_processes(2, run_all, cases, together, answers)
    return expected, found, [torch.load(answers / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.mark.parametrize("name", NAMES)
def test_losses_and_validation_metrics_are_those_of_one_process(both, name):
    expected, found = both[0][name]["logs"], both[1][name]["logs"]
    assert [step for step, _ in expected] == [step for step, _ in found]
    assert any("val/loss" in metrics for _, metrics in found)
    for (step, left), (_, right) in zip(expected, found, strict=True):
        assert right == pytest.approx(left, rel=2e-5), step


@pytest.mark.parametrize("name", NAMES)
def test_final_weights_are_those_of_one_process_and_equal_in_all(both, name):
    expected, found = both[0][name]["weights"], both[1][name]["weights"]
    first, second = (weights[name] for weights in both[2])
    assert expected.keys() == found.keys() == second.keys()
    for parameter, value in expected.items():
        assert np.array_equal(first[parameter], second[parameter]), parameter
        if parameter.endswith(("key.bias", "k_lin.bias", "Wqkv.bias")):
            continue  # attention is the same whatever it is: its gradient is rounding, which AdamW makes as large as any
        np.testing.assert_allclose(found[parameter], value, atol=2e-4, err_msg=parameter)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_came_to_is_counted_over_all_processes(both, name):
    expected, found = both[0][name]["result"], both[1][name]["result"]
    for count in ("steps", "best_step", "examples", "tokens", "cache"):
        assert getattr(found, count) == getattr(expected, count), count
    assert found.flops == pytest.approx(expected.flops, rel=0.2), "less padding, or a text computed for nothing"
    assert found.train_loss_mean == pytest.approx(expected.train_loss_mean, rel=2e-5)


def test_the_cache_of_frozen_layers_is_built_once(both):
    assert both[1]["partial"]["result"].cache == "built"


def test_a_stop_is_heeded_at_the_next_logging_point(both):
    assert both[0]["stopped"]["result"].steps == 3
    assert both[1]["stopped"]["result"].steps == 4


def fail(rank, kind):
    if rank == 1:
        if kind == "foreign":
            raise ValueError("no kernel")
        if kind == "ours":
            raise PipelineError("first", "second")
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("foreign", "ValueError: no kernel"), ("ours", "first"), ("dead", "Process 1 of the 2 .* was killed by SIGKILL")],
)
def test_a_failure_of_one_ends_all(kind, message):
    began = time.monotonic()
    with pytest.raises(PipelineError, match=message) as caught:
        run_processes(2, fail, kind)
    assert isinstance(caught.value, ProcessLostError) == (kind == "dead"), "a study begins again what was killed"
    assert time.monotonic() - began < 30, "did not wait for the others"


LONG = {"strategy": "partial", "epochs": "8", "batch_size": "8", "logging_steps": "1", "eval_steps": "20", "dropout": "0"}


@pytest.fixture
def started():
    """Processes that are gone when the test ends."""
    processes = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_a_parallel_training_that_is_killed_or_interrupted_goes_on(workspace, started):
    command = [sys.executable, "-m", "pipeline", "train"]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in {**workspace.options, **LONG}.items()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def checkpoints():
        return {str(path) for path in workspace.folder.glob(".cache/checkpoints/*/step-*")}

    def start(num_processes, checkpoints_before):
        """The command until there is another checkpoint; its process, and those below it."""
        process = subprocess.Popen(
            [*command, f"--num-processes={num_processes}"],
            env=environment,
            cwd=workspace.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        started.append(process)
        deadline = time.monotonic() + 240
        while checkpoints() <= checkpoints_before:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return process, descendants(process.pid)

    process, below = start(2, set())
    os.kill(below[-1], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "of the 2 of this training was killed by SIGKILL" in err
    assert "Traceback" not in err
    assert are_gone(below)
    (run,) = workspace.tracker.search()
    assert run.status == "FAILED"
    assert "SIGKILL" in run.tags["status_detail"]
    assert run.tags[Tag.NUM_PROCESSES] == "2"

    process, below = start(2, checkpoints())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"Continuing run {run.run_id} from step" in out
    newest = max(int(path.rpartition("-")[2]) for path in checkpoints())
    assert newest % int(LONG["eval_steps"]), "of the step at which the processes heard of it, not of the last evaluation"
    assert "Traceback" not in err
    assert are_gone(below)
    assert workspace.tracker.get(run.run_id).status == "KILLED"

    process, below = start(2, checkpoints())
    process.kill()
    process.communicate(timeout=60)
    assert are_gone(below), "no orphans"

    done = subprocess.run(command, env=environment, cwd=workspace.folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert workspace.tracker.get(run.run_id).status == "FINISHED"
    whole = workspace.train(**LONG, cache_dir="other-cache")
    for metric in ("train/loss", "val/loss"):
        found, expected = (dict(workspace.tracker.history(run_id, metric)) for run_id in (run.run_id, whole))
        assert found == pytest.approx(expected, rel=1e-4)
