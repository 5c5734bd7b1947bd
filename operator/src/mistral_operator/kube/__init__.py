"""Talking Kubernetes: the client, kinds, names and formats. Knows no field of our resource."""
