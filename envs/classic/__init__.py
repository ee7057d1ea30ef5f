"""Classic control in vectorised numpy, and the base classes for numpy families of one's own."""
