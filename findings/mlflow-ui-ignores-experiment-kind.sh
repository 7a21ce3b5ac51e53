#!/usr/bin/env bash
# MLflow 3.17.2: the tag `mlflow.experimentKind` = `custom_model_development`, which the UI itself writes for experiments of trained
# models, does not choose the view in which a fresh browser opens the experiment. It opens as a GenAI experiment (Overview of traces,
# empty); only `?workflowType=machine_learning` in the address, or what the browser remembers, leads to the runs. So an address
# that is printed for people has to carry it.
#
# Seen (Chromium, fresh profile each time):
#   #/experiments/1                                  -> #/experiments/1/overview/usage?workflowType=genai
#   #/experiments/1?workflowType=machine_learning    -> #/experiments/1/runs?workflowType=machine_learning&...
#
# Needs python3.11, chromium and chromedriver. Exits non-zero when the behaviour has changed.
set -euo pipefail
work=$(mktemp -d)
server=""
trap '[ -n "$server" ] && kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check mlflow==3.17.2 selenium==4.36.0
cat > seen.py <<'PY'
import socket, subprocess, sys, tempfile, time, urllib.request
from mlflow.tracking import MlflowClient
from selenium import webdriver

client = MlflowClient("sqlite:///mlflow.db")
experiment = client.create_experiment("trained models", tags={"mlflow.experimentKind": "custom_model_development"})
client.set_terminated(client.create_run(experiment, run_name="a-training").info.run_id)
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
server = subprocess.Popen(
    [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
)
print(server.pid, file=open("pid", "w"))


def opens_at(address):
    options = webdriver.ChromeOptions()
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", f"--user-data-dir={tempfile.mkdtemp(dir='.')}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options)
    try:
        browser.get(f"http://127.0.0.1:{port}/{address}")
        deadline = time.monotonic() + 90
        while browser.current_url.endswith(address) and time.monotonic() < deadline:
            time.sleep(1)
        return browser.current_url.partition("/#/")[2]
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
    plain = opens_at(f"#/experiments/{experiment}")
    asked = opens_at(f"#/experiments/{experiment}?workflowType=machine_learning")
finally:
    server.terminate()
    server.wait(30)
print("tag alone:   ", plain)
print("with address:", asked)
sys.exit(not ("workflowType=genai" in plain and "/runs?" in asked and "workflowType=machine_learning" in asked))
PY
venv/bin/python seen.py 2>errors || { echo "changed, or could not be seen:"; tail -5 errors; exit 1; }
echo "mlflow 3.17.2: the experiment's kind does not choose the view; the address does"
