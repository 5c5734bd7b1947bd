"""The operator process: settings, logs, leader election, probes, startup and shutdown."""
