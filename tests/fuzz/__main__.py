"""`python -m tests.fuzz`: read what a coverage-guided fuzzer makes up; exit status 1 if a promise was not kept."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

_TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(_TESTS))
os.environ.update(
    HF_HUB_OFFLINE="1",
    CUDA_VISIBLE_DEVICES="",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS="1",
    MLFLOW_DISABLE_TELEMETRY="true",
)
SKIPPED = 77
"""The exit status by which automake and meson know a test that was skipped."""


def main() -> int:
    """Read the options, fuzz."""
    from .driver import lacks_engine, load_readers, render, run_reader

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--readers", default="", help="words of their names, such as recipe,runs; all by default")
    parser.add_argument("--seconds", type=float, default=600, help="of processor time, of all together (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the fuzzer; contents of earlier rounds count, too")
    parser.add_argument("--folder", help="keeps contents, counts and findings from round to round; a temporary one by default")
    parser.add_argument("--output", type=Path, help="the Markdown file to write; the terminal by default")
    given = parser.parse_args()
    if lacks_engine():
        print("Skipped: the fuzzer needs Atheris. Run `pip install '.[fuzz]'`.", file=sys.stderr)  # noqa: T201
        return SKIPPED
    folder = Path(given.folder or tempfile.mkdtemp(prefix="fuzz-")).absolute()
    words = [word for word in given.readers.split(",") if word]
    names = [name for name in load_readers() if not words or any(word in name for word in words)]
    counts = {}
    for name in names:
        print(f"{name} ...", flush=True)  # noqa: T201
        counts[name] = run_reader(name, folder / name, given.seconds / len(names), given.seed)
    text = render(counts)
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    print(f"{text}Contents and findings: {folder}")  # noqa: T201
    return int(any(each.findings or each.ended for each in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
