"""What annotation tools write beside a label: verdicts, ids, answers of several annotators."""
