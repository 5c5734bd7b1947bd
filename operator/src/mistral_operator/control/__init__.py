"""What drives: reconciles resources, decides on replicas, and reports; state and I/O live here."""
