"""Plaintext mathematics: objectives, metrics, histograms, splits and trees. Pure: no clock, no network."""
