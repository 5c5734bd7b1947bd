"""`kubectl msd`: what the operator's users ask of a cluster, with their own permissions.

Modules that turn values into text are pure; `reader` and the modules `read_*` ask the API server.
"""
