#!/usr/bin/env bash
# python-calamine 0.9.1 (also `pandas.read_excel(engine="calamine")`): a sheet is held as one rectangle from its first to its last
# cell, about 32 bytes for each place in it, filled or not: two cells that lie 2,000 rows and 1,600 columns apart take 85 MB. Where
# memory does not suffice the process ends, and Python has no exception to catch. So bound the rectangle before the sheet is read.
#
# Output seen:
#   python-calamine 0.9.1
#   2 cells, 1 x 2 places: file 4831 bytes, peak memory over the import 0 MB
#   2 cells, 2000 x 1600 places: file 4841 bytes, peak memory over the import 85 MB
#   26.7 bytes a place
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q python-calamine==0.9.1 openpyxl==3.1.5
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import os
import subprocess
import sys
from importlib.metadata import version

import openpyxl

PROBE = """
import resource, sys
import python_calamine
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
python_calamine.CalamineWorkbook.from_path(sys.argv[1]).get_sheet_by_index(0)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
print(f"python-calamine {version('python-calamine')}")
grown = []
for rows, columns in ((1, 2), (2000, 1600)):
    book = openpyxl.Workbook()
    book.active["A1"] = "text"
    book.active.cell(rows, columns, "far")
    book.save("sheet.xlsx")
    taken = int(subprocess.run([sys.executable, "-c", PROBE, "sheet.xlsx"], capture_output=True, text=True, check=True).stdout)
    print(f"2 cells, {rows} x {columns} places: file {os.path.getsize('sheet.xlsx')} bytes, peak memory over the import {taken / 1e6:.0f} MB")
    grown.append(taken)
a_place = (grown[1] - grown[0]) / (2000 * 1600)
print(f"{a_place:.1f} bytes a place")
assert a_place > 24, "a sheet is no longer held as a rectangle"
PYTHON
