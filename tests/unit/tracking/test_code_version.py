"""The code's version changes with the files that decide a result, and with no other."""

from pathlib import Path

import pytest

from pipeline.stages.testing.test import TESTING
from pipeline.tracking import provenance as module
from pipeline.tracking.provenance import code_version
from pipeline.training.setup import COMPUTING

START = ("pipeline.stages.train", "pipeline.strategies.child")
FILES = {
    "stages/train.py": "from pipeline.training.loop import fit\nfrom pipeline.tracking import runs\nimport json\n",
    "training/loop.py": "def fit():\n    from pipeline.modeling import cut\n    from pipeline.data.plots import draw\n",
    "modeling/__init__.py": "",
    "modeling/split_model.py": "import pipeline.data.batching\n",
    "data/batching.py": "",
    "data/plots.py": "",
    "tracking/runs.py": "",
    "strategies/child.py": "from pipeline.strategies.parent import Parent\n",
    "strategies/parent.py": "",
    "strategies/other.py": "",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    module._read.cache_clear()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("stages/train.py", True),
        ("training/loop.py", True),
        ("modeling/split_model.py", True),
        ("data/batching.py", True),
        ("strategies/child.py", True),
        ("strategies/parent.py", True),
        ("strategies/other.py", False),
        ("data/plots.py", False),
        ("tracking/runs.py", False),
    ],
)
def test_files_count_that_decide_a_result(root: Path, name: str, counts: bool) -> None:
    before = code_version(START)
    with (root / name).open("a") as file:
        file.write("x = 1\n")
    assert code_version(START) == before, "as it was when the process first asked"
    module._read.cache_clear()
    assert (code_version(START) != before) == counts


def test_versions_of_libraries_count(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, more = code_version(START), code_version(START, ["no-such-package"])
    assert plain != more, "a package that is not installed is another one than one that is"
    for library in ("torch", "transformers", "peft", "accelerate", "tokenizers"):
        with monkeypatch.context() as patch:
            patch.setattr(module, "version", lambda name, old=library: "0" if name == old else "1")
            first = code_version(START)
            patch.setattr(module, "version", lambda name: "1")
            assert code_version(START) != first, library


@pytest.mark.parametrize(
    ("roots", "needed"),
    [
        (
            (*COMPUTING, "pipeline.strategies.methods.qlora"),
            {
                "pipeline.training.optimizer",
                "pipeline.training.meters",
                "pipeline.training.seeding",
                "pipeline.training.saved_model",
                "pipeline.modeling.split_model",
                "pipeline.data.batching",
                "pipeline.evaluation.metrics",
                "pipeline.strategies.parameter_plan",
                "pipeline.strategies.freezing",
                "pipeline.strategies.adapters",
                "pipeline.strategies.methods.lora",
            },
        ),
        (
            TESTING,
            {
                "pipeline.training.inference",
                "pipeline.modeling.loading",
                "pipeline.data.splits",
                "pipeline.evaluation.task",
                "pipeline.evaluation.metrics",
                "pipeline.evaluation.calibration",
            },
        ),
    ],
    ids=["training", "test"],
)
def test_every_file_that_decides_is_found(roots: tuple[str, ...], needed: set[str]) -> None:
    module._read.cache_clear()
    read: list[str] = []
    original = module._read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_read", lambda root, name: (read.append(name), original(root, name))[1])
        code_version(roots)
    assert needed <= set(read)
    assert not needed & set(roots), "named there they would be found in any case"
    assert not [name for name in read if "plots" in name or ".comparison" in name or ".tracking" in name]
