"""`python -m tests.faults`: play the matrix, write the table of counts; exit status 1 if a promise was not kept."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

_TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(_TESTS))


def main() -> int:
    """Read the options, play."""
    import quiet_environment

    quiet_environment.enter()
    os.environ.update(CUDA_VISIBLE_DEVICES="", PYTHONPATH=str(_TESTS.parent))
    from . import process
    from .kinds import FAULTS
    from .matrix import render, run_matrix
    from .stages import STAGES, make_templates
    from .workspace import Workspace

    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--stages", default=",".join(STAGES), help="of: %(default)s")
    parser.add_argument("--faults", default="", help="words of their names, such as SIGTERM,disk; all by default")
    parser.add_argument("--cases", type=int, default=4, help="of each stage and fault (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="by which moments and files are drawn")
    parser.add_argument("--folder", help="where cases happen; a temporary one by default, fastest in memory (/dev/shm)")
    parser.add_argument("--output", type=Path, help="the Markdown file to write; the terminal by default")
    given = parser.parse_args()
    words = [word for word in given.faults.split(",") if word]
    faults = [fault for name, fault in FAULTS.items() if not words or any(word in name for word in words)]
    stages = [STAGES[name] for name in given.stages.split(",")]
    process.import_all()
    root = Path(given.folder) if given.folder else Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        workspace = Workspace(root.absolute() / "case")
        shutil.rmtree(workspace.root, ignore_errors=True)
        process.call(lambda: make_templates(workspace), root)
        cells = run_matrix(workspace, stages, faults, given.cases, given.seed, lambda line: print(line, flush=True))  # noqa: T201
    finally:
        if not given.folder:
            shutil.rmtree(root)
    text = render(cells)
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    print(text)  # noqa: T201
    return int(any(cell.broken for cell in cells.values()))


if __name__ == "__main__":
    sys.exit(main())
