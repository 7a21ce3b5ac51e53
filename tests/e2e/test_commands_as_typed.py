"""Every command of the README and the docs runs as it is typed, in a process of its own and in a copy of the project."""

import re
import shlex
from pathlib import Path

import pytest
from commands import COMMANDS, limits_for, run, shorten, write_project

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BENCHMARK_LIMITS = {
    "benchmarks.speed": "--dataset rotten_tomatoes --rows 96 --peer-steps 5 --repeats 1 --strategies head_only",
    "benchmarks.equality": "--dataset rotten_tomatoes --rows 96 --seeds 2 --strategy head_only",
    "benchmarks.search": "--dataset rotten_tomatoes --rows 96 --peer-steps 5 --repeats 1",
    "benchmarks.coverage": "--texts 50 --seeds 1,2 --discordances 0.1 --seed-points 0 --studies 3 --resamples 20",
    "benchmarks.coverage_sets": "--texts 40 --seeds 1,2 --seed-points 0 --studies 2 --resamples 20",
    "benchmarks.aspects": "",
    "benchmarks.flattery": "--splits random,grouped --dataset rotten_tomatoes --strategies head_only --seeds 1 "
    "--max-train-samples 64 --max-eval-samples 32",
    "benchmarks.margin": "--strategies head_only --seeds 1 --factors 2 --capabilities avx2 --rounding-strategies head_only "
    "--max-train-samples 64 --max-eval-samples 32 --epochs 1 --workers 1",
    "benchmarks.gpu": "--tiny --seconds 20",
    "benchmarks.store": "--rows 2 --seeds 2 --texts 20 --repeats 1",
    "benchmarks.start": "--strategies full --repeats 1",
    "benchmarks.short_trainings": "--repeats 1",
    "benchmarks.kept_memory": "--strategies head_only --rows 64 --repeats 1",
    "benchmarks.commands": "--rows 64 --strategy head_only",
    "benchmarks.scaling": "--dataset rotten_tomatoes --rows 64 --depths 2 --depth-rows 64 --strategies head_only",
}
TYPED = [command for command in COMMANDS if not re.match(r"make |mlflow ui|python -m benchmarks.peer_", command)]
"""Without those of which test_documented_commands.py starts a process, and without those that need bertuner."""


@pytest.fixture(scope="module")
def project(tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_project(folder, tiny.folder("distilbert"), tiny.folder())
    return folder


def test_there_are_commands_to_run() -> None:
    assert len(TYPED) >= 12


@pytest.mark.parametrize("command", TYPED)
def test_documented_command_works(command: str, project: Path) -> None:
    command = shorten(command)
    if "RUN_ID" in command:
        run_id = newest_run(project)
        if "register" in command:  # takes what is tested
            run(["python", "-m", "pipeline", "evaluate", "--run-id", run_id], project)
        command = command.replace("RUN_ID", run_id)
    arguments = shlex.split(command)
    if arguments[0] == "mlflow":
        extra = [word for name, value in limits_for(command).items() for word in ("-P", f"{name}={value}")]
        assert "succeeded" in run([*arguments, *extra], project)
    elif arguments[2].startswith("benchmarks."):
        run([*arguments, *BENCHMARK_LIMITS[arguments[2]].split()], project)
    else:
        assert arguments[:3] == ["python", "-m", "pipeline"], f"what is {command!r}?"
        extra = [word for name, value in limits_for(command).items() for word in (f"--{name}", value)]
        if "--help" in arguments:
            extra = []
        assert run([*arguments, *extra], project)


def newest_run(project: Path) -> str:
    script = (
        "from pipeline import load_results; runs = load_results(); "
        "print(runs[(runs.stage == 'train') & (runs.status == 'FINISHED')].run_id.iloc[0])"
    )
    return run(["python", "-c", script], project).split()[-1]
