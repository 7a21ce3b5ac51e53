#!/usr/bin/env bash
# label-studio-sdk 2.1.2: the converter writes a text that was annotated twice as two rows, the NEWEST annotation first (JSON_MIN, CSV,
# TSV), while the full JSON keeps the order of the task, oldest first. The usual drop_duplicates("id"), which keeps the first row,
# so takes the second annotator's label from JSON_MIN and the first one's from JSON. Skipped annotations are in JSON alone.
#
# Output seen:
#   label-studio-sdk 2.1.2
#   JSON:     ['positive', 'negative', 'skipped']
#   JSON_MIN: ['negative', 'positive']
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q label-studio-sdk==2.1.2
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import json
from importlib.metadata import version

from label_studio_sdk.converter import Converter

config = """<View><Text name="text" value="$text"/><Choices name="label" toName="text"><Choice value="positive"/>
<Choice value="negative"/></Choices></View>"""


def annotation(number, label, skipped=False):
    result = [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [label]}}]
    when = f"2026-01-0{number}T09:00:00Z"
    return {"id": number, "completed_by": number, "result": result, "was_cancelled": skipped, "created_at": when, "updated_at": when}


annotations = [annotation(1, "positive"), annotation(2, "negative"), annotation(3, "positive", skipped=True)]
json.dump([{"id": 7, "data": {"text": "a film"}, "annotations": annotations}], open("tasks.json", "w"))
converter = Converter(config, ".", download_resources=False)
converter.convert("tasks.json", "full", "JSON", is_dir=False)
converter.convert("tasks.json", "min", "JSON_MIN", is_dir=False)
full = json.load(open("full/result.json"))[0]["annotations"]
full = ["skipped" if item["was_cancelled"] else item["result"][0]["value"]["choices"][0] for item in full]
short = [row["label"] for row in json.load(open("min/result.json"))]
print("label-studio-sdk", version("label-studio-sdk"))
print("JSON:    ", full)
print("JSON_MIN:", short)
assert full == ["positive", "negative", "skipped"] and short == ["negative", "positive"], "the order has changed"
PYTHON
