"""Every route of a tenant's host, a file for each part of the product: ACCESS (T4) and TENANCY (A1) of the same routes."""
