"""A study on a Ray cluster of two nodes of this machine, of which one is killed on the way."""

import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from process_tree import parents

from pipeline.config import MainConfig
from pipeline.stages import main
from pipeline.tracking.tags import Tag

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed (the extra `ray`)"),
    pytest.mark.usefixtures("blank_pictures"),
]
SEEDS = 2


@pytest.fixture
def cluster(workspace):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def kill_while_it_trains(cluster, node, tracker):
    """Kill a node as soon as a training is at work there that has a run; returns in a list what ran on the node."""
    killed = []
    [raylet] = [info.process.pid for info in node.all_processes["raylet"]]

    def kill():
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            own = [pid for pid, (parent, command) in parents().items() if parent == raylet and command.startswith(b"ray::run_")]
            if own and [run for run in tracker.search({"stage": "train"}) if run.status == "RUNNING"]:
                killed.extend(own)
                cluster.remove_node(node, allow_graceful=False)
                return
            time.sleep(0.1)

    threading.Thread(target=kill, daemon=True).start()
    return killed


def outcome(workspace, study):
    """(strategy, seed) -> loss and score of every training of a study, and its table without what differs from time to time."""
    runs = [run for run in workspace.tracker.search({"stage": "train"}) if run.parent_id == study.run_id]
    assert len([run for run in runs if run.status == "FINISHED"]) == 2 * SEEDS
    found = {
        (run.tags["strategy"], run.params["seed"]): (run.metrics["val/loss"], run.metrics["test/f1_macro"])
        for run in runs
        if run.status == "FINISHED"
    }
    table = study.comparison.table
    return found, table[["strategy", "f1_macro", "f1_macro_low", "f1_macro_high", "group", "seeds"]]


def test_a_study_goes_on_when_a_node_is_lost_and_ends_as_one_on_this_machine(
    workspace, cluster, in_this_process, monkeypatch, capfd
):
    options = {**workspace.options, "epochs": 3, "eval_steps": 5, "seeds": SEEDS}
    Path("ray_study.yaml").write_text(yaml.safe_dump({"options": options, "strategies": {"bitfit": {}, "full": {}}}))
    killed = kill_while_it_trains(cluster, cluster.add_node(num_cpus=1), workspace.tracker)
    given = {"executor": "ray", "ray_address": cluster.address, "workers": 2}
    study = main.run(workspace.config(MainConfig, recipe="ray_study.yaml", **given))
    assert killed, "a node was lost while it trained"
    out = capfd.readouterr().out
    assert "was killed; it is begun again" in out
    assert (
        f"Trainings and tests run 2 at once, each with a share of its CPUs and GPUs, on the Ray cluster at {cluster.address}"
        in out
    )
    run = workspace.tracker.get(study.run_id)
    assert (run.tags[Tag.EXECUTOR], run.tags[Tag.WORKERS]) == ("ray", "2")
    assert not [run for run in workspace.tracker.search() if run.status == "RUNNING"]
    found, table = outcome(workspace, study)
    monkeypatch.setattr(main, "WorkerProcesses", in_this_process)
    local = main.run(workspace.config(MainConfig, recipe="ray_study.yaml", force="true", cache_dir="other"))
    expected, expected_table = outcome(workspace, local)
    assert found == {key: pytest.approx(values, rel=1e-5) for key, values in expected.items()}
    assert table.equals(expected_table)
