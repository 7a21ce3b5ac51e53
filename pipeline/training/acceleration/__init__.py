"""What makes a step faster and changes nothing that it computes: what one is (`base`), and one file each in `patches/`."""
