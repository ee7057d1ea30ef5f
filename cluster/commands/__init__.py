"""The commands of `metaray`, one a file: a frozen dataclass of options with a `run` that takes what was typed and returns an exit code.

Each file imports only what its help needs; a `run` imports the rest, so that `--help` and wrong input answer at once.
"""
