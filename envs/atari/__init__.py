"""Atari 2600 games, stepped in C++ by `ale_py.vector_env.AtariVectorEnv`."""
