from django_tenants.postgresql_backend.introspection import (
    DatabaseSchemaIntrospection as DatabaseIntrospection,
)

__all__ = ["DatabaseIntrospection"]
