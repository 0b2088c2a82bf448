"""What would be done, without torch: cells, their state, their cost, and what this machine lacks for them."""
