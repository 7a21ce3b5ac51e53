"""Fine-tuning on a few texts as a plain script around transformers' Trainer does it; knows nothing of this project.

python benchmarks/plain_trainer.py MODEL TRAIN_CSV VALIDATION_CSV OUTPUT full
"""

import sys

import pandas as pd
from datasets import Dataset
from sklearn.metrics import accuracy_score, f1_score
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)


def main(model_folder, train_csv, validation_csv, output, strategy):
    """Train for one epoch, score the validation texts, and save the model."""
    tokenizer = AutoTokenizer.from_pretrained(model_folder)

    def read(file):
        rows = Dataset.from_pandas(pd.read_csv(file))
        return rows.map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=128), batched=True)

    model = AutoModelForSequenceClassification.from_pretrained(model_folder, num_labels=2)
    if strategy == "lora":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules="all-linear"))
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=output,
            num_train_epochs=1,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=32,
            learning_rate=5e-5 if strategy == "full" else 1e-3,
            eval_strategy="epoch",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=read(train_csv),
        eval_dataset=read(validation_csv),
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=score,
    )
    trainer.train()
    trainer.save_model(output)


def score(prediction):
    """Accuracy and macro F1."""
    predicted = prediction.predictions.argmax(-1)
    return {
        "accuracy": accuracy_score(prediction.label_ids, predicted),
        "f1": f1_score(prediction.label_ids, predicted, average="macro"),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
