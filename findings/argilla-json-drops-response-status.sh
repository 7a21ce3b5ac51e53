#!/usr/bin/env bash
# argilla 2.8.0: a record's JSON (JsonIO.to_json, which `dataset.records.to_json` calls) leaves out the status of each response.
# A discarded response is written exactly like a submitted one, and reads back without a status, so whoever trains on the file
# counts what annotators threw away as examples. The flattened form (`to_list(flatten=True)`) does keep it, in a column
# LABEL.responses.status. No server is needed to see it.
#
# Output seen:
#   argilla 2.8.0
#   nested:    [{"value": "positive"}, {"value": "positive"}]   (user ids left out here)
#   read back: [None, None]
#   flattened: [["submitted"], ["discarded"]]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q argilla==2.8.0 requests  # which argilla imports, and does not declare
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import json
import uuid
from importlib.metadata import version

from argilla.records._io import GenericIO, JsonIO
from argilla.records._resource import Record
from argilla.responses import Response

records = [
    Record(
        fields={"text": f"a text that was {status}"},
        responses=[Response(question_name="label", value="positive", user_id=uuid.uuid4(), status=status)],
    )
    for status in ("submitted", "discarded")
]
print("argilla", version("argilla"))
JsonIO.to_json(records, "records.json")
written = [record["responses"]["label"] for record in json.load(open("records.json"))]
nested = [{key: value for key, value in response.items() if key != "user_id"} for (response,) in written]
print("nested:   ", json.dumps(nested))
back = [response.status for record in JsonIO._records_from_json("records.json") for response in record.responses]
print("read back:", back)
flat = [record["label.responses.status"] for record in GenericIO.to_list(records, flatten=True)]
print("flattened:", json.dumps(flat))
assert nested == [{"value": "positive"}, {"value": "positive"}], "the JSON tells a discarded response from a submitted one now"
assert back == [None, None], "the status survives now"
assert flat == [["submitted"], ["discarded"]], "the flattened form has changed"
PYTHON
