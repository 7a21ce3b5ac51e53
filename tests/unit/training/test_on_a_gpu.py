"""What a CPU cannot show: nobody waits for a real GPU, and what it predicts is what a CPU does. `pytest -n0 -m gpu`."""

import contextlib

import numpy as np
import pytest
import torch

from pipeline.modeling.loading import load_tokenizer
from pipeline.modeling.model_sources import find_model
from pipeline.strategies.base import create_strategy
from pipeline.training.activation_cache import ActivationCache
from pipeline.training.loop import fit
from pipeline.training.saved_model import FineTunedModel

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

EVERY = 20
"""Steps from one logging point to the next."""
TEXTS = ["good film", "the plot of this film is bad", "a story", "good good good and bad"] * 50


@contextlib.contextmanager
def waiting_is_an_error():
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("graphs", ["auto", "off"])
@pytest.mark.parametrize("strategy", ["full", "lora", "partial", "head_only", "prefix"])
def test_between_logging_points_nobody_waits(tiny, tmp_path, watch, strategy, graphs):
    config = tiny.config(epochs=3 * EVERY, logging_steps=EVERY, eval_steps=10**6, dropout=0.1, cuda_graphs=graphs)
    built = tiny.build(create_strategy(strategy, {}), tiny.folder(), config)
    cache = ActivationCache(tmp_path / "states", 10**8)
    plan = tiny.plan(built, config, tmp_path / "run", 8, activation_cache=cache, base_identity="bert", precision="bf16")

    def after(step):
        reads = step % EVERY == 0 or step == plan.total_steps
        torch.cuda.set_sync_debug_mode("default" if reads else "error")

    watcher = watch(after_step=after)
    with waiting_is_an_error():  # whatever happens, it is off afterwards
        torch.cuda.set_sync_debug_mode("default")  # before the first step a training may look at its data
        fit(plan, watcher)
    assert len([step for step, metrics in watcher.logs if "train/loss" in metrics]) == 3


def test_predictions_are_those_of_a_cpu(tiny, monkeypatch):
    built = tiny.build(create_strategy("full", {}), tiny.folder(), tiny.config(dropout=0.0))
    tokenizer, objective = load_tokenizer(find_model(str(tiny.folder()))), tiny.objective()
    model = FineTunedModel(built.model, tokenizer, objective, objective.task, 40, built.context.encoder)
    on_a_gpu = model.predict(TEXTS)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    np.testing.assert_allclose(on_a_gpu, model.predict(TEXTS), atol=1e-4)
