"""Pictures of the dashboard's panels, for docs/monitoring.md: `python -m mistral_dev panels`.

`record` runs endpoints under a load while a real Prometheus scrapes them as the Prometheus operator
would configure it (`recording`, `monitors`, `load`). `draw` evaluates every expression of the
dashboard on what was recorded and draws the panels as Grafana does (`queries`, `pictures`).
"""
