"""How the operator process lives: settings, logs, leader election, probes, start and stop."""
