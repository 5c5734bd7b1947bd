"""The activator: queues requests to endpoints that are scaled to zero, and forwards them.

It is a process of its own, `mistral-operator activate`, since it is on the request path. It reads
only EndpointSlices: those of the operator map a port to an endpoint, those of Kubernetes list the
ready replicas. The operator polls it for the number of queued requests.
"""
