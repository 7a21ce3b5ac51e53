"""Which parameters train, from which epoch, at which share of the learning rate: declared in phases, resolved into one plan."""
