"""What runs where: the command line, run directories, the main loop and its two backends (this machine and Ray)."""
