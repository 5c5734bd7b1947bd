"""The operator: watches MistralSmallDeployment resources, creates their children, reports on them.

Start with `control/reconciler.py` (one reconcile) and `watch/kopf_watch.py` (what is watched).
`api` is the resource as pydantic models, `render` and `status` are pure, `kube/client.py` sends the
requests to the API server, `kube/names.py` holds every name. docs/architecture.md has the map.
"""
