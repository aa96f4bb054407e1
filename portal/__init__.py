"""Server-rendered pages of a tenant. No models."""
