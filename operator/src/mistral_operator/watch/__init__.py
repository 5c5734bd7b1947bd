"""What the cluster says: watches, the store that they fill, and the queue that they feed."""
