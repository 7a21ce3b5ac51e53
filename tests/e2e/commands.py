"""The commands of the README and the docs, what makes them short, and a folder in which they work."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
# A strategy's page has one command, which test_strategy_pages.py runs.
DOCUMENTS = [
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name not in ("adr", "strategies")),
]
LIMITS = {"max_train_samples": "64", "max_eval_samples": "32", "epochs": "1"}
# Studies that are meant for a hub model and a GPU run here on packaged parts, and with two quick strategies.
REPLACED = {"model": "minilm", "dataset": "rotten_tomatoes", "strategies": "head_only,bitfit", "trials": "1", "seeds": "1"}
# Instead of those two: what the recipe is about, where that can be had in a minute.
STUDIES = {
    "prefix_vs_full": {"split": "random", "strategies": "prefix"},
    "layerwise": {"strategies": "freeze_9,two_rates"},
    "korean_emotion": {"strategies": "attention"},
    "encoders": {"strategies": "head_only", "trials": "3"},
}


def documented_commands() -> list[str]:
    """Each once, in the order of the documents."""
    blocks = [block for path in DOCUMENTS for block in re.findall(r"```bash\n(.*?)```", path.read_text(), re.DOTALL)]
    return list(dict.fromkeys(line.strip() for block in blocks for line in block.splitlines() if line.strip()))


COMMANDS = documented_commands()


def shorten(command: str) -> str:
    """With one seed, two trials and few texts: more take minutes, and show no more."""
    command = re.sub(r"(--train-sizes )[\d,]+", r"\g<1>8,32", command)
    return re.sub(r"(--trials |\btrials=)\d+", r"\g<1>2", re.sub(r"--seeds \d+", "--seeds 1", command))


def limits_for(command: str) -> dict[str, str]:
    """Options that make a command of the command line short, without those that it has."""
    if recipe := re.search(r"(?:-P recipe=|--recipe )(\w+)", command):
        extra = {**LIMITS, **REPLACED, **STUDIES.get(recipe[1], {})}
    elif re.search(r"-e (train|tune)|pipeline (train|main|tune)", command):
        extra = dict(LIMITS)
    elif "--model " in command:
        extra = {"max_eval_samples": "32"}
    else:
        extra = {}
    if names(command, "models"):
        extra.pop("model", None)
    return {name: value for name, value in extra.items() if not names(command, name)}


def names(command: str, option: str) -> bool:
    """Whether the command has the option."""
    return bool(re.search(rf"-P {option}=|--{option.replace('_', '-')} ", command))


def write_project(folder: Path, encoder: Path, classified: Path) -> None:
    """A copy of the project, and the files and models that the commands name."""
    for name in ("MLproject", "conda.yaml", "pipeline", "benchmarks", "examples", "Makefile", "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    write_data(folder)
    write_emotions(folder)
    shutil.copytree(encoder, folder / "my-encoder")
    write_classifier(classified, folder / "their-classifier")
    write_adapter(folder / "my-encoder", folder / "my-adapter")


def write_adapter(encoder: Path, folder: Path) -> None:
    """A LoRA adapter of a model for two classes, as peft saves it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=2)
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_lin", "v_lin"], task_type="SEQ_CLS")).save_pretrained(folder)


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
    topics = "".join(f'"{text}",{word if i % 3 else f"{word}|film" if i % 2 else ""}\n' for i, (text, word) in enumerate(rows))
    (folder / "topics.csv").write_text("text,label\n" + topics)
    comments = "".join(f'"{text}",{i % 2},{int(word == "bad")},{int(i % 3 == 0)}\n' for i, (text, word) in enumerate(rows))
    (folder / "comments.csv").write_text("text,toxic,insult,threat\n" + comments)
    (folder / "survey.csv").write_text("text;label\n" + "".join(f'"{text}";{label}\n' for text, label in rows))
    (folder / "ag_news.csv").write_text("".join(f'"{label}","{label}","{text}"\n' for text, label in rows))
    (folder / "fasttext.txt").write_text("".join(f"__label__{label} {text}\n" for text, label in rows))
    made = Path(__file__).parents[1] / "unit" / "data" / "tool_files"
    shutil.copy(made / "openpyxl.xlsx", folder / "survey.xlsx")
    shutil.copy(made / "label_studio.json", folder)
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
    """For a process: the commands of this environment first, and no tracking store of ours."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return {**clean, "PATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def run(arguments: list[str], project: Path) -> str:
    """Run a command in a process of its own, in the project's folder; what it says."""
    done = subprocess.run(arguments, cwd=project, env=environment(), capture_output=True, text=True, timeout=600)
    output = done.stdout + done.stderr
    assert done.returncode == 0, f"{' '.join(arguments)}\n{output[-3000:]}"
    return output
