"""Operations on tensors, one concept a file, each with a slow oracle in `tests/oracles/`."""
