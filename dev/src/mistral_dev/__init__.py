"""What a developer runs: the local cluster, image builds, the demo. Not in the wheel."""
