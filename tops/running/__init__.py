"""Running planned cells: workers, launchers, progress, tracking."""
