"""Mistakes of input: exit status 2, a message that names the way out, no traceback, and no run.

Every case goes through the command line in this process, which is quick; some go through a process of their own as well.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.__main__ import cli

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
FILES = {
    "empty.csv": b"",
    "header.csv": b"text,label\n",
    "one_class.csv": b"text,label\na b c,1\nd e f,1\ng h i,1\n",
    "semicolons.csv": b"sentence;label\na;1\n",
    "binary.csv": b"\xff\xfe\x00bad",
    "latin.csv": b"text,label\ncaf\xe9,1\n",
    "ids.csv": b"text,label\n" + b"".join(b"text,id %d\n" % row for row in range(30)),
    "scores.csv": b"text,label\na,0.5\nb,0.7\n",
    "columns.csv": b"foo,bar\n1,2\n",
    "few.csv": b"text,label\na b c,1\nd e f,0\n",
    "broken.yaml": b"options: [",
    "typo.yaml": b"options: {learning_rat: 1e-3}\n",
}

# Arguments -> what the message must hold.
QUICK = {
    "train --strategy lorra": "Did you mean 'lora'? Available: ",
    "train --learning-rate -1": "--learning-rate: got '-1'",
    "nosuchstage": "Unknown stage 'nosuchstage'",
}
SLOW = {
    "train --dataset header.csv": "header.csv",
    "evaluate --run-id 0123456789abcdef0123456789abcdef": "There is no run '0123456789abcdef0123456789abcdef'",
}
CASES = {
    **QUICK,
    **SLOW,
    "train --strategy partial --strategy-args top_k=99": "partial: top_k=99 exceeds the 6 layers of minilm. Choose 1 to 6.",
    "train --strategy partial --strategy-args top_k=x": "partial: top_k: got 'x'",
    "train --strategy partial --strategy-args top_k": "'top_k' is not key=value",
    "train --strategy lora --strategy-args r=0": "lora: r: got '0'",
    "train --strategy lora --strategy-args nope=1": "argument of strategy 'lora': 'nope'",
    "train --strategy lora --strategy-args targets=[quary]": "Did you mean 'query'?",
    "train --strategy prefix --strategy-args num_virtual_tokens=512": "leaves no room for text",
    "train --learning-rate abc": "--learning-rate: got 'abc'",
    "train --num-train-epochs 3": "Did you mean '--epochs'?",
    "train --learning_rat 1": "Did you mean '--learning-rate'?",
    "train --epochs 0": "--epochs: got '0'",
    "train --precision fp16": "--precision fp16 has no effect on a CPU",
    "train --recipe nope": "Unknown recipe 'nope'",
    "train --recipe broken.yaml": "not readable as YAML",
    "train --recipe typo.yaml": "Did you mean 'learning_rate'?",
    "train --dataset missing.csv": "missing.csv: no such file",
    "train --dataset rotten_tomatos": "Did you mean 'rotten_tomatoes'?",
    "train --dataset nobody/no-such-data": "nobody/no-such-data",
    "train --dataset empty.csv": "empty.csv",
    "train --dataset one_class.csv": "one_class.csv",
    "train --dataset binary.csv": "binary.csv",
    "train --dataset columns.csv": "Columns: foo, bar. Pass --text-column",
    "train --dataset semicolons.csv": "semicolons.csv",
    "train --dataset few.csv": "few.csv",
    "train --dataset latin.csv": "byte 14 is not UTF-8. Its bytes fit cp1252: pass --encoding cp1252, or save",
    "train --dataset latin.csv --encoding klingon": "--encoding: got 'klingon', no encoding of text.",
    "train --dataset ids.csv": "30 rows hold 30 different labels",
    "train --dataset scores.csv": "label '0.5' is a number with a fraction",
    "train --dataset few.csv --labels 0,2": "label '1' is none of --labels 0, 2",
    "train --dataset few.csv --train-file few.csv": "--dataset few.csv and --train-file few.csv: which data?",
    "train --test-file few.csv": "--test-file few.csv: needs --train-file as well",
    "train --dataset folder": "the folder holds no train.tsv, nor train.csv",
    "train --model folder": "holds no config.json",
    "train --model ./nowhere": "--model ./nowhere: no such folder",
    "train --model nobody/no-such-model": "the hub cannot be reached",
    "evaluate": "got neither",
    "evaluate --model folder": "needs --dataset",
    "compare --run-ids 0123": "There is no run '0123'",
    "main --strategies full,lorra": "Did you mean 'lora'?",
}


@pytest.fixture
def folder(tmp_path, monkeypatch, empty_store):
    """A folder with bad files and an empty tracking store."""
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder").mkdir()
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return tmp_path


def assert_no_run():
    from pipeline.tracking import open_tracker

    assert open_tracker().search() == []


@pytest.mark.parametrize("arguments", CASES)
def test_a_mistake_is_answered_with_a_message(folder, arguments):
    result = CliRunner().invoke(cli, arguments.split())
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    assert CASES[arguments] in result.output
    assert_no_run()


def test_independent_mistakes_are_reported_together(folder):
    result = CliRunner().invoke(cli, ["train", "--epochs=0", "--batch-size=x", "--strategy=lora", "--strategy-args=r=0"])
    assert result.exit_code == 2
    for name in ("3 mistakes", "--epochs", "--batch-size", "lora: r"):
        assert name in result.output


@pytest.mark.parametrize("arguments", [*QUICK, *SLOW])
def test_the_real_command_exits_with_2(folder, arguments):
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments.split()],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert CASES[arguments] in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
