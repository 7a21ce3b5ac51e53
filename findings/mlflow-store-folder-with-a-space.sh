#!/usr/bin/env bash
# MLflow 3.17.2: in a folder whose name has a space, its default store opens rightly (SQLAlchemy decodes the address), but MLflow
# also makes an empty folder beside it whose name holds the address's escapes: "my films" and "my%20films".
# Source: mlflow/store/db/utils.py, `_make_parent_dirs_if_sqlite` takes the path from the address without decoding it, while
# `mlflow.get_tracking_uri()` encodes it. So a program that takes the path from `get_tracking_uri()` by removing `sqlite:///`
# looks for the store in a place where it is not, as ours did.
# Exits with 0 as long as that is so.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet mlflow==3.17.2
mkdir "$work/my films"
cd "$work/my films"
env -u MLFLOW_TRACKING_URI "$work/venv/bin/python" -c '
import mlflow
from mlflow.tracking import MlflowClient
print("mlflow", mlflow.__version__)
print("address:", mlflow.get_tracking_uri().rsplit("/", 2)[1:])
MlflowClient().search_experiments()
' 2>/dev/null
cd "$work"
echo "folders beside each other:"; ls -d my*
test -s "my films/mlflow.db"
test -d "my%20films"
test -z "$(ls -A "my%20films")"
echo "as described"
# Seen: address: ['my%20films', 'mlflow.db']; folders: my%20films (empty) and my films (with mlflow.db).
