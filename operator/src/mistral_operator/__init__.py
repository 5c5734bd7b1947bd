"""The operator: watches MistralSmallDeployment resources, creates their children, reports on them.

Start with `reconcile` (the paragraph that everything else serves) and `handlers` (what is watched).
`api` is the resource as pydantic models, `render` and `status` are pure, `cluster` alone talks to
Kubernetes, `names` holds every name. docs/architecture.md has the map.
"""
