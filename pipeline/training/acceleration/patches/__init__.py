"""The accelerations, one file each."""
