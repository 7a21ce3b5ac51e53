"""A search and its final training with bertuner, by the calls that its README shows; knows nothing of this project.

python benchmarks/bertuner_search.py search SETTINGS
python benchmarks/bertuner_search.py train SETTINGS
python benchmarks/bertuner_search.py predict OUTPUT_FOLDER TEXTS_FOLDER

SETTINGS are JSON: model, texts, output, trials, low and high (rates), batch_size, weight_decay, warmup_ratio, scheduler,
dropout, patience, max_length, max_grad_norm, metric, seed.
"""

import json
import sys
import time
from pathlib import Path


def search(settings):
    """Search learning rates, train the final model, and note what came of it in `search.json` of the output folder."""
    began, given = time.perf_counter(), json.loads(settings)
    tuner = _make_tuner(given)
    tuner.optimize(n_trials=given["trials"], optimize_metric=given["metric"], study_name="search")
    searched = time.perf_counter()
    tuner.train_final_model()
    noted = {"search": searched - began, "final": time.perf_counter() - searched, "rate": tuner.best_params["learning_rate"]}
    (Path(given["output"]) / "search.json").write_text(json.dumps(noted))


def train(settings):
    """The final training alone, at the rate `low`, as after a search that found it."""
    import mlflow

    given = json.loads(settings)
    tuner = _make_tuner(given)
    mlflow.set_tracking_uri(tuner.mlflow_uri)
    tuner.optimize_metric, tuner.greater_is_better = given["metric"], True
    tuner.best_params = {**{name: choices[0] for name, choices in _choices(given).items()}, "learning_rate": given["low"]}
    tuner.train_final_model()


def _make_tuner(given):
    """A tuner that knows texts, encoder and space, with an empty folder for what it makes."""
    from bertuner.BERTuner import BERTuneClassifier

    texts, output = Path(given["texts"]), Path(given["output"])
    output.mkdir(parents=True)
    tuner = BERTuneClassifier(
        models_dir=str(output),
        text_feature="text",
        target_cols=["label"],
        data_splits={part: str(texts / f"{part}.csv") for part in ("train", "validation", "test")},
        seed=given["seed"],
        mlflow_tracking_uri=str(output / "mlruns"),
        log_level="verbose",  # a run per trial
        max_length=given["max_length"],
        max_grad_norm=given["max_grad_norm"],
    )
    tuner.initialize_model_choices({"encoder": given["model"]})
    rates = {"low": given["low"], "high": given["high"], "log": True}
    tuner.initialize_search_space({**_choices(given), "learning_rate": rates})
    return tuner


def _choices(given):
    """What is searched beside the rate: one value each."""
    return {
        "model": ["encoder"],
        "batch_size": [given["batch_size"]],
        "loss_type": ["weighted"],  # by class, of which there are equally many
        "weight_decay": [given["weight_decay"]],
        "warmup_ratio": [given["warmup_ratio"]],
        "scheduler": [given["scheduler"]],
        "dropout": [given["dropout"]],
        "early_stopping_patience": [given["patience"]],
    }


def predict(output_folder, texts_folder):
    """The more probable class of each test text, as a list of JSON on the last line."""
    import pandas as pd
    from bertuner.Predictor import BERTunePredictor

    predictor = BERTunePredictor(str(Path(output_folder) / "final_model" / "model"))
    texts = pd.read_csv(Path(texts_folder) / "test.csv")["text"].tolist()
    print(predictor.predict_proba(texts).argmax(1).tolist())


if __name__ == "__main__":
    {"search": search, "train": train, "predict": predict}[sys.argv[1]](*sys.argv[2:])
