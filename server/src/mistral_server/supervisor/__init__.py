"""PID 1 of the pod: the life and health of the engine."""
