"""Interpret the engine's output: stages, the first error, failure classes."""
