"""Settings: the schema of the YAML files under ``configs/``, their folders, and their composition by a command line."""
