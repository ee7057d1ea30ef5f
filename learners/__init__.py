"""Mathematics on tensors: ops, networks, and one file per algorithm. Nothing here steps an environment."""
