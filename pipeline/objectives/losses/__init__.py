"""The losses, one file each; `objectives/loss.py` says what one is."""
