#!/usr/bin/env bash
# doccano 1.8.4: the fastText export is written by pandas' to_csv, so a line with a comma, a quotation mark or a line break in its text
# is quoted as a CSV field. fastText knows no quoting: that line begins with "__label__positive, which is no label, so the text counts as
# unlabelled (or, in most home-made readers, gets the class `"__label__positive`), and nothing is said. Of real reviews that is nearly
# every line. doccano's own classes run here, without its server.
#
# Output seen:
#   doccano 1.8.4
#   __label__positive a fine film 
#   "__label__positive fine, and ""warm"" "
#   labels that fastText finds: ['__label__positive', None]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-deps doccano==1.8.4
"$work/venv/bin/pip" install -q pandas==1.5.3 "numpy<2"
cd "$work"
"$work/venv/bin/python" - 2>&1 <<'PYTHON' | tee output.txt
import importlib.util
import io
import sys
import sysconfig
import types
import warnings
from importlib.metadata import version
from pathlib import Path

import pandas as pd

warnings.simplefilter("ignore")
# The formatters import Django's models for one name of a column.
sys.modules["data_export"] = types.ModuleType("data_export")
sys.modules["data_export.models"] = types.SimpleNamespace(DATA="data")
folder = Path(sysconfig.get_path("purelib"), "backend", "data_export", "pipeline")


def load(name):
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Label(str):
    def to_string(self):
        return str(self)


table = pd.DataFrame({"data": ["a fine film", 'fine, and "warm"'], "labels": [[Label("positive")]] * 2, "Comments": [[], []]})
lines = load("formatters").FastTextCategoryFormatter("labels").apply(table)
file = io.StringIO()
load("writers").FastTextWriter.write(file, lines)
print("doccano", version("doccano"))
print(file.getvalue(), end="")
found = [next((word for word in line.split() if word.startswith("__label__")), None) for line in file.getvalue().splitlines()]
print("labels that fastText finds:", found)
assert found == ["__label__positive", None], "lines are no longer quoted"
PYTHON
