"""The command line: each command has one file, and one entry in `tops.cli.main`."""
