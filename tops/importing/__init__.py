"""Logs of other programs as rows that a report shows beside its own, marked."""
