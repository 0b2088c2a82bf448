"""What the YAML files under ``configs/`` may say, where they are found, and how a command line composes them."""
