"""The Ray cluster; no module outside this folder imports Ray."""
