#!/usr/bin/env bash
# Runs that log the same data set at the same moment, the first in their experiment to do so: MLflow refuses all but one of them.
#
# mlflow 3.17.2, SQLite. `log_inputs` looks whether the experiment has the data set and inserts it if not, without a lock between; the
# table has a UNIQUE constraint, so who comes second gets an error in place of the row that is there now. The same request, sent
# again, succeeds. Parallel trainings on one data set are such runs. Seen here, in 3 of 8 experiments with four writers each:
#   MlflowException: (sqlite3.IntegrityError) UNIQUE constraint failed: datasets.experiment_id, datasets.name, datasets.digest ...
# Exits with 1 if that does not happen in 40 experiments.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet mlflow==3.17.2
cd "$work"
cat > writers.py <<'PY'
import multiprocessing
import sys

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput

WRITERS, EXPERIMENTS, URI = 4, 40, "sqlite:///mlflow.db"


def write(experiment, barrier, outcomes):
    client = MlflowClient(URI)
    run_id = client.create_run(experiment).info.run_id
    inputs = [DatasetInput(Dataset("reviews", "0123abcd", "http", '{"url": "reviews"}'), [])]
    barrier.wait()
    try:
        client.log_inputs(run_id, inputs)
    except mlflow.MlflowException as error:
        client.log_inputs(run_id, inputs)
        outcomes.put(" ".join(str(error).split()))
    else:
        outcomes.put("")


if __name__ == "__main__":
    print("mlflow", mlflow.__version__)
    client, fork = MlflowClient(URI), multiprocessing.get_context("fork")
    for number in range(EXPERIMENTS):
        experiment = client.create_experiment(f"experiment {number}")
        barrier, outcomes = fork.Barrier(WRITERS), fork.Queue()
        processes = [fork.Process(target=write, args=(experiment, barrier, outcomes)) for _ in range(WRITERS)]
        for process in processes:
            process.start()
        said = [outcomes.get(timeout=120) for _ in processes]
        for process in processes:
            process.join()
        refused = [line for line in said if line]
        if refused:
            print(f"experiment {number}: {len(refused)} of {WRITERS} refused, each taken when sent again: {refused[0][:120]}")
            sys.exit("UNIQUE constraint failed: datasets" not in refused[0])
    sys.exit("no writer was refused")
PY
"$work/venv/bin/python" writers.py 2> errors.txt || { tail -n 3 errors.txt; exit 1; }
