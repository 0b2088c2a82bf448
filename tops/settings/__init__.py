"""Settings: the schema of the YAML files under ``configs/``, where they are found, and how a command line composes
them.
"""
