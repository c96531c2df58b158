"""Which of two texts will be clicked more often, learned from texts that were tried against each other."""
