"""A search of 200 trials takes no more memory than one of 50: nothing of a trial stays but its point and its score."""

import gc
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

TRIALS, EARLY = 200, 50
_MIB = 2**20


def resident_bytes():
    gc.collect()
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


def search(folder):
    """Print how many bytes are resident after each tenth trial. Trials are recorded in an MLflow store, and not trained."""
    from pipeline.config import TrainConfig, TuneConfig
    from pipeline.config.search_ranges import LogUniform
    from pipeline.stages.executor import Outcome
    from pipeline.stages.search.loop import SearchLoop
    from pipeline.stages.search.plan import SearchPlan
    from pipeline.tracking.mlflow_runs import MlflowTracker
    from pipeline.tuning.budget import Budget
    from pipeline.tuning.search import open_search
    from pipeline.tuning.space import Space

    tracker = MlflowTracker(f"sqlite:///{folder / 'mlflow.db'}")

    class Plan(SearchPlan):
        name = "full-1"

    class Executor:
        name, slots, workers = "fake", 1, 1

        def submit(self, task):
            self.task = task

        def wait(self):
            run = tracker.start("trial", self.task.parent_id, self.task.tags)
            run.log_metrics({"val/accuracy": 0.5, "val/loss": 1.0, "cost/train_seconds": 1.0, "cost/examples": 1})
            run.finish("FINISHED")
            if (self.task.number + 1) % 10 == 0:
                print(self.task.number + 1, resident_bytes(), flush=True)  # noqa: T201
            return Outcome(self.task.number, run_id=run.run_id)

    common = {"strategy": "full", "epochs": 1, "cache_dir": str(folder)}
    space = Space({"learning_rate": LogUniform(1e-5, 1e-3)})
    inputs = SimpleNamespace(sample=lambda split: range(1), code_version="code")
    config = TuneConfig(sampler="random", **common)
    plan = Plan(config, TrainConfig(**common), space, Budget("trials", TRIALS), inputs)
    plan.folder.mkdir(parents=True)
    study = open_search(plan.address, space, "identity", "random", 1, False)
    SearchLoop(plan, study, Executor(), tracker, tracker.start("tune", None, {}), "fp32").run()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
def test_memory_stays_flat(empty_store, tmp_path):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
    lines = (line.split() for line in done.stdout.splitlines())
    resident = {int(line[0]): int(line[1]) for line in lines if len(line) == 2 and line[0].isdigit()}
    assert {EARLY, TRIALS} <= resident.keys()  # a trial that repeats a point is not carried out, and prints nothing
    grown = resident[TRIALS] - resident[EARLY]
    assert grown < 4 * _MIB, f"{grown / _MIB:.1f} MiB more after {TRIALS} trials than after {EARLY}"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    search(Path(sys.argv[1]))
