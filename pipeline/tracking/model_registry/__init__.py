"""Registered models: `versions` says what the code may ask, `on_mlflow` answers; the twin stands in `tracking/memory.py`."""
