"""The database backend: every cursor runs as the bound tenant's own PostgreSQL role, or not at all."""
