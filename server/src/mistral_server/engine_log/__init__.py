"""What the engine's output says: stages, the first error, classes of failures."""
