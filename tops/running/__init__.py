"""How planned cells get done: workers, launchers, progress, tracking."""
