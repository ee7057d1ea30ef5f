"""What runs show: learning curves, adaptation, Atari tables, and the intervals that they are given with."""
