"""What a search is going to do."""

from types import SimpleNamespace

import pytest

from pipeline.config import TrainConfig, TuneConfig
from pipeline.ranges import Choices
from pipeline.stages.search_plan import SearchPlan
from pipeline.tracking import code_version as module
from pipeline.tuning.budget import Budget
from pipeline.tuning.space import Space


@pytest.fixture
def plan():
    inputs = SimpleNamespace(
        code_version="that of a training",
        base_sha256="base",
        prepared=SimpleNamespace(manifest=SimpleNamespace(fingerprint="data")),
    )
    space = Space({"learning_rate": Choices((1e-3, 1e-4))})
    return SearchPlan(TuneConfig(strategy="head_only"), TrainConfig(strategy="head_only"), space, Budget("trials", 2), inputs)


@pytest.mark.parametrize("name", ["stages/grid.py", "training/batched_heads.py", "training/stacked.py"])
def test_code_that_trains_trials_together_decides_what_they_are(plan, name, tmp_path, monkeypatch):
    for file in ("stages/grid.py", "training/batched_heads.py", "training/stacked.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text((module.ROOT / file).read_text())
    monkeypatch.setattr(module, "ROOT", tmp_path)
    module._read.cache_clear()
    before = plan.code_version, plan.identity
    assert before == (plan.code_version, plan.identity)
    with (tmp_path / name).open("a") as file:
        file.write("x = 1\n")
    module._read.cache_clear()
    assert plan.code_version != before[0]
    assert plan.identity != before[1]
