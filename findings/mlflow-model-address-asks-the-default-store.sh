#!/usr/bin/env bash
# MLflow 3.17.2: `mlflow.artifacts.download_artifacts(address, tracking_uri=STORE, registry_uri=STORE)` asks the store it was given for
# `runs:/ID/PATH`. For `models:/NAME/1` and for a logged model, `models:/m-ID`, it asks the process's default store all the same. Guess:
# the arguments hold for every address. Whoever reads from a second store gets "not found" for models that are there.
#
# Seen: of one store, given by the arguments, the run's file is fetched, and the registered version and the logged model with the same
# file are refused with RESOURCE_DOES_NOT_EXIST; both are fetched once that store is the default (`mlflow.set_tracking_uri`).
#
# Needs python3.11. Exits non-zero when the behaviour has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check mlflow==3.17.2
cat > seen.py <<'PY'
import sys
from pathlib import Path
import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

mlflow.set_tracking_uri("sqlite:///default.db")
other = f"sqlite:///{Path('other.db').resolve()}"
client = MlflowClient(other, registry_uri=other)
experiment = client.create_experiment("one", artifact_location=str(Path("artifacts").resolve()))
run = client.create_run(experiment).info
Path("weights.txt").write_text("1")
client.log_artifact(run.run_id, "weights.txt", "model")
model = client.create_logged_model(experiment, name="mine", source_run_id=run.run_id)
client.log_model_artifact(model.model_id, "weights.txt")
client.finalize_logged_model(model.model_id, "READY")
client.create_registered_model("registered")
client.create_model_version("registered", f"{run.artifact_uri}/model", run.run_id)


def fetched(address):
    try:
        folder = Path(mlflow.artifacts.download_artifacts(address, tracking_uri=other, registry_uri=other))
        return (folder / "weights.txt").read_text() == "1"
    except MlflowException as error:
        return error.error_code


addresses = [f"runs:/{run.run_id}/model", "models:/registered/1", f"models:/{model.model_id}"]
by_argument = [fetched(address) for address in addresses]
mlflow.set_tracking_uri(other)
by_default = [fetched(address) for address in addresses]
print("by the arguments:", by_argument, "- once it is the default:", by_default)
sys.exit((by_argument, by_default) != ([True, *["RESOURCE_DOES_NOT_EXIST"] * 2], [True] * 3))
PY
venv/bin/python seen.py 2>errors || { echo "changed, or could not be seen:"; tail -5 errors; exit 1; }
echo "mlflow 3.17.2: download_artifacts asks the default store for models:/ addresses, whatever store it is given"
