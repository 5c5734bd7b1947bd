"""The Kubernetes client, kinds, names and formats. Independent of the fields of the resource."""
