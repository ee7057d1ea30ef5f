"""Task families and batched environments: numpy and C++ engines, no torch, no Ray."""
