"""Fine-tuning strategies: `base`, `registry` and `freezing`, then one file per strategy."""
