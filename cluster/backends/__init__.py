"""Where the work of a run is done: threads and processes of this machine, or Ray."""
