"""Who owns the data: tenants, and the binding that PostgreSQL enforces. See docs/architecture.md."""
