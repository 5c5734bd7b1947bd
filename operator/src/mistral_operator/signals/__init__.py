"""Asking pods and activators what only they know."""
