"""The synchronous outer loop of Evolved Policy Gradients: its driver, its pool of workers, its journal."""
