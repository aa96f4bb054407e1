"""An app of tenants with one migration that only adds: what `bench.schemas` brings to every schema."""
