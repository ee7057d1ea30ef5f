"""Experience: unroll a policy in an environment, and evaluate one."""
