"""Tools of a tenant's own MCP servers."""
