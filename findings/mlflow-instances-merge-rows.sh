#!/usr/bin/env bash
# MLflow 3.17.2: the scoring server turns {"instances": [{...}, {...}]} into columns before a model, or its signature, sees it, and
# appends each value to its column whoever's it is. Where an optional field is left out of some instances, values of different
# instances come to stand in one row, with status 200, as long as the columns end up equally long:
#   [{"text": "t0", "text_pair": "p0"}, {"text": "t1"}, {"text_pair": "p2"}]  ->  rows (t0, p0) and (t1, p2): three became two
#   [{"a": "first"}, {"b": "second"}]                                        ->  one row (first, second)
# "dataframe_records" keeps the rows. Seen also: one long text among short ones in "instances" of objects is padded to a numpy array
# of fixed width: 100 texts, one of 100,000 characters, take 40 MB. Exits 1 if either changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" mlflow-skinny==3.17.2 numpy==2.4.6 pandas==3.1.1
PYTHONPATH="$folder" MLFLOW_DISABLE_TELEMETRY=true python3 - <<'PYTHON'
import sys

import mlflow
from mlflow.utils.proto_json_utils import dataframe_from_parsed_json, parse_instances_data

print("mlflow", mlflow.__version__)
ragged = [{"text": "t0", "text_pair": "p0"}, {"text": "t1"}, {"text_pair": "p2"}]
columns = {name: values.tolist() for name, values in parse_instances_data({"instances": ragged}).items()}
print("instances:", columns)
print("records:  ", dataframe_from_parsed_json(ragged, "records").to_dict("records"))
apart = {name: values.tolist() for name, values in parse_instances_data({"instances": [{"a": "first"}, {"b": "second"}]}).items()}
print("instances:", apart)
texts = [{"text": "x" * 100_000}, *({"text": "short"} for _ in range(99))]
size = parse_instances_data({"instances": texts})["text"].nbytes
print(f"100 texts, one long: {size / 1e6:.0f} MB")
merged = columns == {"text": ["t0", "t1"], "text_pair": ["p0", "p2"]} and apart == {"a": ["first"], "b": ["second"]}
sys.exit(not (merged and size == 100 * 100_000 * 4))
PYTHON
