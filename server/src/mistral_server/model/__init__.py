"""The model's files: which there are, and fetching them."""
