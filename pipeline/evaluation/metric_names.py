"""Names of the scores of predictions, as they stand on runs behind `val/` and `test/`. Imports nothing."""

CLASS_METRICS = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
SCORE_METRICS = ("spearman", "pearson")
