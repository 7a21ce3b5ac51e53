"""What `export` writes: folders that other libraries load, what is said of the model in them, and where they go."""
