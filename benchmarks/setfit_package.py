"""The package's side of `benchmarks.setfit`: run by a Python that has setfit, and by no other.

Reads settings as JSON from its argument: folder of the encoder, and a list of trainings with texts, seed and pairs. Prints a
JSON list of what the models predict for the test texts. Its own `evaluate()` would fetch its metric from a hub.
"""

import json
import sys
import tempfile
from pathlib import Path

import pandas as pd
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments

BATCH_SIZE = 16


def main(settings):
    """Train and predict, one training after another."""
    predicted = []
    for training in settings["trainings"]:
        texts = Path(training["texts"])
        model = SetFitModel.from_pretrained(settings["model"])
        model.model_body.max_seq_length = settings["max_length"]
        bound = {"max_steps": training["bound"] // BATCH_SIZE} if training["bound"] else {}
        with tempfile.TemporaryDirectory() as scratch:
            arguments = TrainingArguments(
                output_dir=scratch,
                seed=training["seed"],
                batch_size=BATCH_SIZE,
                report_to="none",
                save_strategy="no",
                show_progress_bar=False,
                **bound,
            )
            train = Dataset.from_pandas(pd.read_csv(texts / "train.csv"))
            Trainer(model=model, args=arguments, train_dataset=train).train()
        tested = pd.read_csv(texts / "test.csv")["text"].tolist()
        predicted.append([str(label) for label in model.predict(tested)])
        print(f"{training['texts']}: trained", file=sys.stderr, flush=True)
    print(json.dumps(predicted))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
