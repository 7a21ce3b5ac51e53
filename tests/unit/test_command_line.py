import re
import subprocess
import sys
from pathlib import Path
from signal import SIGHUP, SIGTERM
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from pipeline.__main__ import cli
from pipeline.config import HEADINGS, TrainConfig
from pipeline.config.fields import describe_fields
from pipeline.config.options import LONGER_SPELLINGS, STAGE_CONFIGS, group_options, is_typed
from pipeline.config.stage import flag
from pipeline.errors import PipelineError, TrainingError
from pipeline.interruption import Interrupted
from pipeline.recipes import list_recipes
from pipeline.strategies.base import list_strategies


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """The train stage replaced: keeps the configs that it is called with, and raises `error` if it is set."""
    fake = SimpleNamespace(configs=[], error=None)
    monkeypatch.chdir(tmp_path)

    def run(config: TrainConfig) -> None:
        fake.configs.append(config)
        if fake.error:
            raise fake.error

    monkeypatch.setitem(sys.modules, "pipeline.stages.train", SimpleNamespace(run=run))
    return fake


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str, bool]]:
    """What a run that MLflow made beforehand is closed with."""
    calls: list[tuple[str, str, str, bool]] = []
    monkeypatch.setenv("MLFLOW_RUN_ID", "abc")

    def mark_failed(run_id: str, stage: str, reason: str, killed: bool = False) -> None:
        calls.append((run_id, stage, reason, killed))

    monkeypatch.setitem(sys.modules, "pipeline.tracking.mlflow_runs", SimpleNamespace(mark_failed=mark_failed))
    return calls


def test_help_imports_nothing_heavy_and_lists_what_there_is() -> None:
    code = (
        "import sys, runpy\n"
        "sys.argv = ['pipeline', '--help']\n"
        "try: runpy.run_module('pipeline', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    text, _, loaded = output.partition("LOADED")
    assert "pipeline" in loaded.split()
    heavy = {"pydantic", "torch", "mlflow", "pandas", "numpy", "sklearn", "transformers", "datasets", "peft", "matplotlib"}
    assert heavy & set(loaded.split()) == set()
    for name in (*STAGE_CONFIGS, *list_strategies(), *list_recipes()):
        assert name in text


@pytest.mark.parametrize("name", STAGE_CONFIGS)
def test_every_stage_answers_help_under_both_spellings(name: str) -> None:
    for spelling in {name, name.replace("_", "-")}:
        result = call(spelling, "--help")
        assert result.exit_code == 0
        assert "--cache-dir" in result.output


def test_options_reach_the_stage_typed_and_underscores_serve(stage: SimpleNamespace) -> None:
    arguments = ("--strategy", "partial", "--learning_rate", "3e-5", "--max-length=64", "--strategy_args", "top_k=1")
    result = call("train", *arguments)
    assert result.exit_code == 0, result.output
    [config] = stage.configs
    assert (config.learning_rate, config.max_length, config.strategy_args) == (3e-5, 64, {"top_k": 1})


def test_values_keep_their_underscores(stage: SimpleNamespace) -> None:
    assert call("train", "--dataset", "my_data.csv", "--strategy", "head_only").exit_code == 0
    assert (stage.configs[0].dataset, stage.configs[0].strategy) == ("my_data.csv", "head_only")


def test_mistakes_exit_with_2_before_the_stage_runs_and_without_a_traceback(stage: SimpleNamespace) -> None:
    result = call("train", "--epochs", "0", "--strategy", "lorra")
    assert result.exit_code == 2
    assert "Error: 2 mistakes:" in result.output
    assert "Unknown strategy 'lorra'. Did you mean 'lora'?" in result.output
    assert "--epochs: got '0'" in result.output
    assert "Traceback" not in result.output
    assert stage.configs == []


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (TrainingError("The loss became NaN."), 1, "Error: The loss became NaN."),
        (KeyboardInterrupt(), 130, "Error: Interrupted. Run the same command to resume from the last checkpoint."),
        (Interrupted(SIGTERM), 143, "Error: Interrupted by SIGTERM. Run the same command to resume from the last checkpoint."),
        (Interrupted(SIGHUP), 129, "Error: Interrupted by SIGHUP. Run the same command to resume from the last checkpoint."),
    ],
)
def test_failures_end_with_their_message_and_status(
    stage: SimpleNamespace, error: BaseException, status: int, message: str
) -> None:
    stage.error = error
    result = call("train")
    assert result.exit_code == status
    assert message in result.output


def test_windows_is_refused_before_the_stage_runs(stage: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Windows")
    result = call("train")
    assert result.exit_code == 2
    assert "Error: Windows is not supported: fairtune needs `resource` and `preadv`" in result.output
    assert "Install WSL" in result.output
    assert stage.configs == []


def test_a_cache_folder_that_cannot_be_written_is_refused_before_the_stage_runs(stage: SimpleNamespace) -> None:
    Path("file").write_text("")
    for folder in ("file", "file/below"):
        result = call("train", "--cache-dir", folder)
        assert result.exit_code == 2
        assert f"Error: --cache-dir {folder}: cannot be written" in result.output
    assert stage.configs == []
    assert call("train", "--cache-dir", "new/folder").exit_code == 0
    assert list(Path("new/folder").iterdir()) == []


def test_longer_spellings_are_answered_with_ours() -> None:
    for longer, ours in LONGER_SPELLINGS.items():
        for spelling in (flag(longer), "--" + longer):
            result = call("train", spelling, "3")
            assert result.exit_code == 2
            assert f"Unknown option {flag(longer)!r}. Did you mean {flag(ours)!r}?" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--epoch", "3"), "Unknown option '--epoch'. Did you mean '--epochs'?"),
        (("compare", "--lr", "3"), "Unknown option '--lr'."),
        (("main", "--given", "seed"), "Unknown option '--given'."),
        (
            (
                "train",
                "-P",
                "strategy=lora",
                "-Plearning_rate=3e-5",
                "--seed",
                "1",
                "-P",
                "strategy_args=targets=[query,value]",
            ),
            "python -m pipeline train --strategy lora --learning-rate 3e-5 --seed 1 --strategy-args 'targets=[query,value]'",
        ),
        (("main", "-P"), "-P is an option of `mlflow run`."),
        (("trian",), "Unknown stage 'trian'. Did you mean 'train'?"),
        (("train", "--epochs"), "requires an argument"),
        (("train", "partial"), "unexpected extra argument"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_says_why(arguments: tuple[str, ...], message: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize(
    ("arguments", "error", "reason", "killed"),
    [
        (("--epochs", "0"), None, "--epochs: got '0'", False),
        (("--lr", "3"), None, "Unknown option '--lr'. Did you mean '--learning-rate'?", False),
        (("--epochs",), None, "requires an argument", False),
        ((), PipelineError("No."), "No.", False),
        ((), KeyboardInterrupt(), "Interrupted.", True),
    ],
)
def test_a_run_that_mlflow_made_beforehand_is_closed_with_the_reason(
    stage: SimpleNamespace,
    closed: list[tuple[str, str, str, bool]],
    arguments: tuple[str, ...],
    error: BaseException | None,
    reason: str,
    killed: bool,
) -> None:
    stage.error = error
    assert call("train", *arguments).exit_code != 0
    [(run_id, name, message, was_killed)] = closed
    assert (run_id, name, was_killed) == ("abc", "train", killed)
    assert reason in message


@pytest.mark.parametrize("name", STAGE_CONFIGS)
def test_help_has_every_option_once_below_a_heading(name: str) -> None:
    text = call(name, "--help").output
    headings = [line[:-1] for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert set(headings) <= {*HEADINGS, "More"}
    assert headings[0] == "Most used" if name != "prepare_data" else "Data" in headings
    options = re.findall(r"^  (?:-h, )?(--[a-z-]+)", text, re.MULTILINE)
    assert sorted(options) == sorted(
        {flag(field) for field in describe_fields(STAGE_CONFIGS[name]) if is_typed(field)} | {"--help"}
    )
    assert re.findall(r"^  (?:-h, )?(--[a-z-]+)", text.partition("\nMore:\n")[2], re.MULTILINE) == ["--help"], "no heading"


def test_an_option_has_the_same_place_in_the_help_of_all_stages() -> None:
    fields = [field for cls in STAGE_CONFIGS.values() for field in describe_fields(cls).values() if is_typed(field.name)]
    places = {(field.name, field.group) for field in fields}
    assert len(places) > 60
    assert len({name for name, _ in places}) == len(places)


def test_whatever_is_in_no_group_comes_last() -> None:
    grouped = group_options(TrainConfig, ["help", "epochs", "new_option", "strategy"])
    assert list(grouped.items()) == [("Most used", ["strategy", "epochs"]), ("More", ["help", "new_option"])]


@pytest.mark.parametrize(
    ("command", "called"),
    [
        (["main"], ["prepare", "run"]),
        (["main", "--dry-run", "true"], ["run"]),
        (["tune", "--strategy", "full"], ["prepare", "run"]),
        (["train", "--strategy", "full"], ["run"]),
    ],
)
def test_the_process_to_fork_from_is_started_before_the_imports_of_whoever_forks(
    command: list[str], called: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.__main__._prepare_processes", lambda: calls.append("prepare"))
    stage = SimpleNamespace(run=lambda _config: calls.append("run"))
    monkeypatch.setitem(sys.modules, f"pipeline.stages.{command[0]}", stage)
    assert call(*command).exit_code == 0
    assert calls == called
