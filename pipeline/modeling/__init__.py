"""Pretrained encoders: where their files are, where their parts are, how they are loaded."""
