"""Web pages of a report."""
