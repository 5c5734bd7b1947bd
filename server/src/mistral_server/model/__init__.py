"""The model's files: which are required, and how they are fetched."""
