"""What a model is trained for: inputs, what stands on the encoder, loss, meaning of outputs (`base`); a file each in kinds/."""
