"""Polls the signals of pods and activators."""
