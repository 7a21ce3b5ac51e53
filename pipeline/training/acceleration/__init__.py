"""What makes a step faster and changes nothing that it computes: a file each, with a switch (`--acceleration`), and `base`."""
