#!/usr/bin/env bash
# MLflow 3.17.2: a view of an experiment's runs (filter, order, columns, grouping) that somebody shares in the UI is a tag of the
# experiment, `mlflow.sharedViewState.KEY`, opened by `#/experiments/ID/runs?viewStateShareKey=KEY`. Neither is documented; there is
# no call of the client for it. The UI writes the state compressed (`deflate;` and base64), and reads plain JSON just as well. So a
# program can hand its users a dashboard: runs grouped by a tag with means, filtered and sorted, whatever their browsers remember.
#
# Seen (Chromium, fresh profile): with the tag the page has the rows "Group: lora" and "Group: full", the mean 0.7 of lora's runs, and
# not the run that the filter leaves out; lora's group is above that of full. Without it, the runs one by one.
#
# Needs python3.11, chromium and chromedriver. Exits non-zero when the behaviour has changed.
set -euo pipefail
work=$(mktemp -d)
trap '[ -f "$work/pid" ] && kill "$(cat "$work/pid")" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check mlflow==3.17.2 selenium==4.36.0
cat > seen.py <<'PY'
import json, socket, subprocess, sys, tempfile, time, urllib.request
from mlflow.tracking import MlflowClient
from selenium import webdriver
from selenium.webdriver.common.by import By

view = {
    "selectedColumns": ["metrics.`score`"],
    "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "method"}]},
    "searchFilter": "metrics.score > 0.2",
    "orderByKey": "metrics.`score`",
    "orderByAsc": False,
}
client = MlflowClient("sqlite:///mlflow.db")
experiment = client.create_experiment("trained models")
for name, method, score in (("one", "lora", 0.6), ("two", "lora", 0.8), ("three", "full", 0.5), ("left-out", "full", 0.1)):
    run = client.create_run(experiment, run_name=name, tags={"method": method}).info.run_id
    client.log_metric(run, "score", score)
    client.set_terminated(run)
client.set_experiment_tag(experiment, "mlflow.sharedViewState.grouped", json.dumps(view))
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
server = subprocess.Popen(
    [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
)
print(server.pid, file=open("pid", "w"))


def words_of(query, wanted):
    options = webdriver.ChromeOptions()
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", "--window-size=1700,900", f"--user-data-dir={tempfile.mkdtemp(dir='.')}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options)
    try:
        browser.get(f"http://127.0.0.1:{port}/#/experiments/{experiment}/runs?workflowType=machine_learning{query}")
        deadline = time.monotonic() + 90
        while True:
            text = browser.find_element(By.TAG_NAME, "body").text
            if wanted in text or time.monotonic() > deadline:
                return text
            time.sleep(1)
    finally:
        browser.quit()


try:
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
            break
        except OSError:
            assert time.monotonic() < deadline, "no server"
            time.sleep(1)
    shared = words_of("&viewStateShareKey=grouped", "Group: full")
    plain = words_of("", "left-out")
finally:
    server.terminate()
    server.wait(30)
groups = [shared.find(f"Group: {method}") for method in ("lora", "full")]
print("groups at", groups, "- left out:", "left-out" not in shared, "- without the view:", "left-out" in plain and "Group:" not in plain)
sys.exit(not (0 <= groups[0] < groups[1] and "0.7" in shared and "left-out" not in shared and "left-out" in plain and "Group:" not in plain))
PY
venv/bin/python seen.py 2>errors || { echo "changed, or could not be seen:"; tail -5 errors; exit 1; }
echo "mlflow 3.17.2: the UI groups, filters and sorts runs as a tag of the experiment says, in plain JSON"
