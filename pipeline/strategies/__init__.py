"""Fine-tuning strategies: what one is (`base`), what they are made of, the plan they come to; a file each in `methods/`."""
