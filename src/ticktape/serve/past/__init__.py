"""Answers about the past: read by worker processes, so that whatever one costs, the live answers do not wait."""
