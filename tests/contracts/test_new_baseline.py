"""Adding a baseline is adding one file: what CONTRIBUTING.md shows trains, is saved, and predicts the same from its folder."""

import numpy as np
import pytest

import pipeline.strategies.methods
from pipeline.config import TrainConfig
from pipeline.errors import ConfigError
from pipeline.stages.configure import configure
from pipeline.strategies.base import list_encoder_strategies, list_strategies
from pipeline.strategies.baseline import is_baseline
from pipeline.training.baselines.training import describe_baseline, train_baseline
from pipeline.training.saved_model import load_model_folder, write_model_folder
from pipeline.training.setup import find_inputs


class Silent:
    """Told how training goes, it does nothing."""

    def on_step(self, step, total_steps):
        pass

    def on_log(self, step, metrics):
        pass


def test_the_baseline_of_the_guide_trains(guide, add_module_to, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section, block = guide("Add a baseline in one file")
    assert "pipeline/strategies/methods/word_count.py" in section
    add_module_to(pipeline.strategies.methods)("word_count", block)
    assert is_baseline("word_count")
    assert "word_count" in list_strategies()
    assert "word_count" not in list_encoder_strategies()
    given = {"strategy": "word_count", "dataset": str(tiny.csv()), "cache_dir": str(tmp_path / "cache")}
    inputs = find_inputs(configure(TrainConfig, given))
    trained = train_baseline(inputs, inputs.read("train"), inputs.read("validation"), Silent())
    assert 0 <= trained.result.best["accuracy"] <= 1
    write_model_folder(tmp_path / "model", trained.model, describe_baseline(inputs, trained))
    texts = ["a film", "a film that goes on and on"]
    np.testing.assert_array_equal(load_model_folder(tmp_path / "model").predict(texts), trained.model.predict(texts))
    with pytest.raises(ConfigError, match="--strategy word_count: does not predict what --label-type score asks for"):
        find_inputs(configure(TrainConfig, {**given, "label_type": "score"}))
