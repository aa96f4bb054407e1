"""Ground floor: no models, knows no tenant."""
