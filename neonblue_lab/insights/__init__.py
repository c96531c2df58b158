"""Sentences and decisions from numbers: the scorecard of a programme and the readout of one experiment."""
