"""An HTTP server that no client can exhaust for the others.

The operator, the activator and the supervisor serve their ports with it.
"""
