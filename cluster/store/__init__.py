"""What a run keeps: its directory, checkpoints, journal, metrics and summary."""
