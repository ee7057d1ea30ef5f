"""Atari, as published: evaluation protocols, human-normalised scores and tables."""
