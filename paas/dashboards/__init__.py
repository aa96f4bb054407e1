"""Grafana's dashboards as code: `manage.py export_dashboards` writes deploy/grafana/dashboards."""
