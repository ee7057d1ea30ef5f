"""Classic control in vectorised numpy, and the base classes for custom numpy families."""
