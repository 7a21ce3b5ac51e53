#!/usr/bin/env bash
# python-calamine 0.9.1 (also `pandas.read_excel(engine="calamine")`): reading a valid workbook of 5 KB whose one far cell stands in the
# last row and column (a stray key press is enough) ends the PROCESS. A sheet is one rectangle of 32 bytes a cell: 512 GiB are asked
# for, and where that is refused Rust aborts; no Python exception, nothing to catch. openpyxl reads the same file. The limit of 4 GiB here
# stands for a machine's memory, and keeps the test harmless.
#
# Output seen:
#   python-calamine 0.9.1, a file of 4856 bytes
#   openpyxl: far cell = far
#   calamine: exit status -6 (SIGABRT): memory allocation of 549755813888 bytes failed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q python-calamine==0.9.1 openpyxl==3.1.5
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import os
import resource
import subprocess
import sys
from importlib.metadata import version

import openpyxl

book = openpyxl.Workbook()
book.active["A1"], book.active["XFD1048576"] = "text", "far"
book.save("far.xlsx")
print(f"python-calamine {version('python-calamine')}, a file of {os.path.getsize('far.xlsx')} bytes")
print("openpyxl: far cell =", openpyxl.load_workbook("far.xlsx").active["XFD1048576"].value)
code = "import python_calamine; python_calamine.CalamineWorkbook.from_path('far.xlsx').get_sheet_by_index(0)"
limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
run = subprocess.run([sys.executable, "-c", code], preexec_fn=limit, capture_output=True, text=True)
print(f"calamine: exit status {run.returncode} (SIGABRT): {run.stderr.splitlines()[0] if run.stderr else 'read'}")
assert run.returncode == -6 and "memory allocation of 549755813888 bytes failed" in run.stderr, "it no longer aborts"
PYTHON
