"""Loads that last: steady, in bursts, for long, too much, from a noisy neighbour, idle, and with many tenants."""
