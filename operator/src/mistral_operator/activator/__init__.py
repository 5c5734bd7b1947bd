"""The activator: answers for endpoints that sleep, wakes them, and forwards what waited.

It is a process of its own, `mistral-operator activate`, since it stands in the way of requests. It
reads EndpointSlices and nothing else: those of the operator say which endpoint a port means, those
of Kubernetes which replicas are ready. The operator asks it who waits.
"""
