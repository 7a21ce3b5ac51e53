#!/usr/bin/env bash
# datasets 5.2.0 with numpy 2: Dataset.to_csv writes a cell that holds a list of texts as numpy prints an array, ['joy' 'anger'],
# without a comma. Neighbouring texts are one text in Python, so the usual ast.literal_eval of such a column gives a list of ONE
# label, 'joyanger', and no error: two labels become a class that nobody gave. A list of numbers fails loudly ("[0 1]" is no
# Python), and pandas alone writes ['joy', 'anger'] for a list that did not pass through Arrow. datasets' own to_json is right.
#
# Output seen:
#   datasets 5.2.0
#   to_csv:            ['joy' 'anger']
#   ast.literal_eval:  ['joyanger']
#   pandas, own lists: ['joy', 'anger']
#   to_json:           ["joy", "anger"]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q datasets==5.2.0 pandas==3.1.1
cd "$work"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - <<'PYTHON'
import ast
import csv
import json
from importlib.metadata import version

import datasets
import pandas as pd

datasets.disable_progress_bars()
rows = {"text": ["a text of two labels"], "labels": [["joy", "anger"]]}
data = datasets.Dataset.from_dict(rows)
data.to_csv("rows.csv")
data.to_json("rows.jsonl")
pd.DataFrame(rows).to_csv("pandas.csv", index=False)
written, alone = ([row["labels"] for row in csv.DictReader(open(name))][0] for name in ("rows.csv", "pandas.csv"))
as_json = json.loads(open("rows.jsonl").readline())["labels"]
print("datasets", version("datasets"))
print("to_csv:           ", written)
print("ast.literal_eval: ", ast.literal_eval(written))
print("pandas, own lists:", alone)
print("to_json:          ", json.dumps(as_json))
assert written == "['joy' 'anger']", "lists are written otherwise now"
assert ast.literal_eval(written) == ["joyanger"]
assert alone == "['joy', 'anger']" and as_json == ["joy", "anger"]
PYTHON
