"""Watches, the store that they fill, and the work queue that they feed."""
