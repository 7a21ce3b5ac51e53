"""Every command of the README and the docs is run, with sample limits added, in a copy of the project."""

import gzip
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
# Every document but the strategies' pages, whose commands have a test of their own (test_strategy_pages).
DOCUMENTS = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "strategies")]
LIMITS = {"max_train_samples": "64", "max_eval_samples": "32", "epochs": "1"}
# Studies that are meant for a hub model and a GPU run here on packaged parts, and with two quick strategies.
REPLACED = {"model": "minilm", "dataset": "rotten_tomatoes", "strategies": "head_only,bitfit", "trials": "1", "seeds": "2"}
BENCHMARK_LIMITS = {
    "benchmarks.speed": "--dataset rotten_tomatoes --rows 96 --peer-steps 5 --repeats 1 --strategies head_only",
    "benchmarks.equality": "--dataset rotten_tomatoes --rows 96 --seeds 2 --strategy head_only",
    "benchmarks.search": "--dataset rotten_tomatoes --rows 96 --peer-steps 5 --repeats 1",
    "benchmarks.coverage": "--texts 50 --seeds 1,2 --discordances 0.1 --seed-points 0 --studies 3 --resamples 20",
    "benchmarks.flattery": "--splits random,grouped --dataset rotten_tomatoes --strategies head_only --seeds 1 "
    "--max-train-samples 64 --max-eval-samples 32",
    "benchmarks.margin": "--strategies head_only --seeds 1 --factors 2 --capabilities avx2 --rounding-strategies head_only "
    "--max-train-samples 64 --max-eval-samples 32 --epochs 1 --workers 1",
    "benchmarks.gpu": "--tiny --seconds 20",
    "benchmarks.scaling": "--dataset rotten_tomatoes --rows 64 --depths 2 --depth-rows 64 --strategies head_only",
}
# Instead of those two: what the recipe is about, where that can be had in a minute.
STUDIES = {
    "prefix_vs_full": {"split": "random", "strategies": "prefix"},
    "layerwise": {"strategies": "freeze_9,two_rates"},
    "korean_emotion": {"strategies": "attention"},
}


def documented_commands() -> list[str]:
    blocks = [block for path in DOCUMENTS for block in re.findall(r"```bash\n(.*?)```", path.read_text(), re.DOTALL)]
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


COMMANDS = documented_commands()


@pytest.fixture(scope="module")
def project(tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for name in ("MLproject", "conda.yaml", "pipeline", "benchmarks", "examples", "Makefile", "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    write_data(folder)
    write_emotions(folder)
    shutil.copytree(tiny.folder("distilbert"), folder / "my-encoder")
    write_classifier(tiny.folder(), folder / "their-classifier")
    return folder


def write_classifier(encoder: Path, folder: Path) -> None:
    """A model for two classes as somebody else would have left it."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2).save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)


def write_data(folder: Path) -> None:
    """The files that docs/reference/data.md names."""
    rows = [(f"a film number {i}, quite {word}", word) for i in range(30) for word in ("good", "bad")]
    pairs = [
        (f"a film number {i}", f"a film number {i // 2}, {word}", i % 6, word) for i in range(60) for word in ("same", "other")
    ]
    pd.DataFrame(pairs, columns=["sentence1", "sentence2", "score", "verdict"]).to_csv(folder / "pairs.csv", index=False)
    table = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows)
    records = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
    (folder / "reviews.jsonl.gz").write_bytes(gzip.compress(records.encode()))
    (folder / "reviews_train.csv").write_text(table)
    pd.DataFrame(rows[:10], columns=["sentence", "class"]).to_parquet(folder / "reviews_test.parquet")
    (folder / "survey.csv").write_text("text;label\n" + "".join(f'"{text}";{label}\n' for text, label in rows))
    (folder / "ag_news.csv").write_text("".join(f'"{label}","{label}","{text}"\n' for text, label in rows))
    (folder / "fasttext.txt").write_text("".join(f"__label__{label} {text}\n" for text, label in rows))
    (folder / "umlauts.csv").write_bytes(table.replace("film", "Märchen").encode("latin-1"))
    (folder / "reviews_folder").mkdir()
    for part in ("train", "dev"):
        (folder / "reviews_folder" / f"{part}.csv").write_text(table.replace("film", f"{part} film"))


def write_emotions(folder: Path) -> None:
    """Files of the Korean study's form: classes by number and by name, and a row without text."""
    names = {"E1": "분노", "E6": "기쁨", "E3": "불안", "E5": "상처", "E2": "슬픔", "E4": "당황"}
    rows = [(label, f"오늘 {number}번째로 {names[label]}을 느꼈다.") for number in range(20) for label in names]
    for file, shown in (("emotions.csv", {}), ("emotions_by_name.csv", names)):
        lines = [f"{shown.get(label, label)},{text}" for label, text in rows]
        (folder / file).write_text("label,HS01\n" + "\n".join([*lines, f"{shown.get('E1', 'E1')},"]) + "\n", encoding="utf-8")


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return {**clean, "PATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def run(arguments: list[str], project: Path) -> str:
    done = subprocess.run(arguments, cwd=project, env=environment(), capture_output=True, text=True, timeout=600)
    output = done.stdout + done.stderr
    assert done.returncode == 0, f"{' '.join(arguments)}\n{output[-3000:]}"
    return output


def limits_for(command: str) -> dict[str, str]:
    if recipe := re.search(r"(?:-P recipe=|--recipe )(\w+)", command):
        extra = {**LIMITS, **REPLACED, **STUDIES.get(recipe[1], {})}
    elif re.search(r"-e (train|tune)|pipeline (train|main|tune)", command):
        extra = dict(LIMITS)
    elif "--model" in command:
        extra = {"max_eval_samples": "32"}
    else:
        extra = {}
    return {name: value for name, value in extra.items() if not re.search(rf"-P {name}=|--{name.replace('_', '-')} ", command)}


def test_there_are_commands_to_run() -> None:
    assert len(COMMANDS) >= 12
    assert {"make quickstart", "make test"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_command_works(command: str, project: Path) -> None:
    command = command.replace("--seeds 5", "--seeds 1")  # five take minutes, and show no more; nor do more than two trials
    command = re.sub(r"(--trials |\btrials=)\d+", r"\g<1>2", command)
    arguments = shlex.split(command.replace("RUN_ID", newest_run(project)) if "RUN_ID" in command else command)
    if arguments[0] == "make":  # running it from here would never end; that its recipe resolves is what can be seen
        assert run(["make", "--dry-run", arguments[1]], project)
    elif command == "mlflow ui":
        check_ui(project)
    elif arguments[0] == "mlflow":
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


def check_ui(project: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["mlflow", "ui", "--port", str(port)],
        cwd=project,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                    assert b"MLflow" in page.read()
                    return
            except OSError:
                assert server.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "no page within 90 s"
                time.sleep(1)
    finally:
        server.terminate()
        server.wait(timeout=30)
