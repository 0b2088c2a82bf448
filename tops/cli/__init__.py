"""The command line: one file a command, one entry in `tops.cli.main`."""
