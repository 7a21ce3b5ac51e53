"""Fine-tuning strategies: `base`, `registry`, `adapters`, `advice` and the package `freezing`, then one file per strategy."""
