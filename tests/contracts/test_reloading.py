"""A trained model is the same when another process loads it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pairs import BASES, fewest_epochs, make

from pipeline.data.batching import TokenExamples
from pipeline.strategies.base import strategy_arguments
from pipeline.training.inference import predict_logits
from pipeline.training.saved_model import ModelRecord, write_model_folder

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

RELOAD = """
import gc, sys
from pathlib import Path
import numpy as np, torch
from pipeline.data.batching import TokenExamples
from pipeline.training.inference import predict_logits
from pipeline.training.saved_model import load_model_folder
from pipeline.data.tokenization import TokenTable

root = Path(sys.argv[1])
table = TokenTable(*(np.load(root / f"{part}.npy") for part in ("ids", "offsets", "labels")))
for folder in sorted(path.parent for path in root.glob("*/model.json")):
    tuned = load_model_folder(folder)
    examples = TokenExamples(table, tuned.tokenizer.pad_token_id)
    np.save(folder / "reloaded.npy", predict_logits(tuned.model, examples, torch.device("cpu")))
"""


def test_a_fresh_process_reloads_every_model_with_the_same_logits(tiny, tmp_path):
    table = tiny.table(20, seed=3)
    for part in ("ids", "offsets", "labels"):
        np.save(tmp_path / f"{part}.npy", getattr(table, part))
    expected = {}
    for family, name, pooler, head in BASES:
        epochs = max(2, fewest_epochs(name))
        strategy, config, base = make(name), tiny.config(epochs=epochs, head=head), tiny.folder(family, pooler)
        built = tiny.build(strategy, base, config, total_steps=epochs)
        key, pad_id = f"{family}-{name}-{pooler}-{head}", built.model.config.pad_token_id
        before = predict_logits(built.model, TokenExamples(table, pad_id), torch.device("cpu"))
        tiny.fit(built, config, tmp_path / "checkpoints" / key)
        record = ModelRecord(
            base=str(base),
            base_revision=None,
            base_sha256=built.address.sha256(),
            strategy=name,
            strategy_args=strategy_arguments(strategy),
            classes=list(tiny.classes),
            max_length=64,
            dropout=config.dropout,
            epochs=config.epochs,
            total_steps=epochs,
            head=head,
        )
        write_model_folder(tmp_path / key, built, record)
        expected[key] = predict_logits(built.model, TokenExamples(table, pad_id), torch.device("cpu"))
        assert np.abs(expected[key] - before).max() > 1e-3, "training changed nothing, so reloading shows nothing"
    assert expected
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    subprocess.run([sys.executable, "-c", RELOAD, str(tmp_path)], check=True, env=environment, timeout=600)
    for key, logits in expected.items():
        np.testing.assert_array_equal(np.load(tmp_path / key / "reloaded.npy"), logits, err_msg=key)
