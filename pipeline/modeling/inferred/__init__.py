"""A family that no file describes, read off a model of it: a small copy is made (`probe`), taken apart (`parts`) and tried."""
