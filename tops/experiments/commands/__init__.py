"""Subcommands of ``tops`` about experiments."""
