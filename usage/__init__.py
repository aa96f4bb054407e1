"""What it costs and whether it is allowed: quotas, reservations, and the append-only usage record."""
