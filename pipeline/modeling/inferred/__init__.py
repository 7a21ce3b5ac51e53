"""A family that no file describes, read off (`family`) a small copy of the model on which it is tried (`probe`)."""
