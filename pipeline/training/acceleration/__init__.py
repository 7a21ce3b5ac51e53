"""What makes a step faster and changes nothing that it computes."""
