"""What `register` is made of: which model, whether it becomes champion, what is said of it."""
