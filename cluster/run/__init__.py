"""One run, from its config to its summary: the trainer, the loop, the schedules, and the observers."""
