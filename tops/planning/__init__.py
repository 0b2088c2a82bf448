"""Plans, made without torch: the cells of a run, their state and cost, and what this machine lacks for them."""
