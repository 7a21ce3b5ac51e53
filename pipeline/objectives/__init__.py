"""What a model is trained for: what goes in, what stands on the encoder, its loss, and what its outputs mean."""
