"""Values that become Grafana's JSON: a dashboard, its rows and its panels.

Nothing says a colour of a background or of text, so both of Grafana's themes show them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["timeseries", "stat", "bargauge"]

SCHEMA_VERSION = 39  # of Grafana 10.4; newer ones read it
COLUMNS = 24
HEIGHTS: dict[Kind, int] = {"timeseries": 8, "stat": 4, "bargauge": 8}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Panel:
    """One panel.

    queries: PromQL by what its series are called, with `{{label}}` in it. unit: of Grafana's. only_when: why it may be
    empty while all is well; "" where a platform that is used always has something to show. red: the value from which a
    number is bad; at_most: the end of the axis.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: Kind = "timeseries"
    text: str = ""
    only_when: str = ""
    width: int = 8
    red: float | None = None
    at_most: float | None = None
    stacked: bool = False

    def as_json(self, number: int, place: dict[str, int]) -> dict[str, Any]:
        """As Grafana stores it."""
        empty = f"Empty unless {self.only_when}." if self.only_when else ""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": " ".join(filter(None, (self.text, empty))),
            "datasource": DATASOURCE,
            "gridPos": place,
            "targets": [
                self._target(*one, letter) for one, letter in zip(self.queries.items(), "ABCDEFGH", strict=False)
            ],
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": self._options(),
        }

    def _target(self, legend: str, query: str, letter: str) -> dict[str, Any]:
        now = {"instant": True, "range": False} if self.kind != "timeseries" else {"range": True}
        return {"refId": letter, "expr": query, "legendFormat": legend, "datasource": DATASOURCE, **now}

    def _defaults(self) -> dict[str, Any]:
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        if self.red is not None:
            steps.append({"color": "red", "value": self.red})
        found: dict[str, Any] = {
            "unit": self.unit,
            "min": 0,
            "color": {"mode": "palette-classic" if self.kind == "timeseries" else "thresholds"},
            "thresholds": {"mode": "absolute", "steps": steps},
        }
        if self.at_most is not None:
            found["max"] = self.at_most
        if self.kind == "timeseries":
            found["custom"] = {
                "drawStyle": "line",
                "lineWidth": 1,
                "fillOpacity": 30 if self.stacked else 10,
                "showPoints": "never",
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "off" if self.red is None else "line"},
            }
        return found

    def _options(self) -> dict[str, Any]:
        if self.kind == "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        if self.kind == "stat":
            return {"reduceOptions": reduced, "colorMode": "value", "graphMode": "none", "textMode": "auto"}
        return {"reduceOptions": reduced, "orientation": "horizontal", "displayMode": "basic"}


@dataclass(frozen=True)
class Dashboard:
    """One page of panels. rows: by their headings. tenant: it is of one tenant, chosen above."""

    uid: str
    title: str
    text: str
    rows: dict[str, Sequence[Panel]]
    tenant: bool = False

    def panels(self) -> Iterator[Panel]:
        """All of them."""
        for row in self.rows.values():
            yield from row

    def as_json(self) -> dict[str, Any]:
        """As Grafana stores it."""
        return {
            "uid": self.uid,
            "title": f"Agent PaaS: {self.title}",
            "description": self.text,
            "tags": ["agent-paas"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"},
            "timezone": "browser",
            "links": [
                {
                    "type": "dashboards",
                    "tags": ["agent-paas"],
                    "title": "Agent PaaS",
                    "asDropdown": True,
                    "keepTime": True,
                }
            ],
            "templating": {"list": [_datasource_choice(), *([_tenant_choice()] if self.tenant else [])]},
            "panels": list(self._placed()),
        }

    def _placed(self) -> Iterator[dict[str, Any]]:
        """Headings and panels, from left to right and from above to below."""
        number, y = 0, 0
        for heading, panels in self.rows.items():
            number += 1
            place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
            yield {"id": number, "type": "row", "title": heading, "collapsed": False, "gridPos": place, "panels": []}
            y, x, height = y + 1, 0, 0
            for panel in panels:
                number += 1
                if x + panel.width > COLUMNS:
                    x, y, height = 0, y + height, 0
                here = HEIGHTS[panel.kind]
                yield panel.as_json(number, {"h": here, "w": panel.width, "x": x, "y": y})
                x, height = x + panel.width, max(height, here)
            y += height


def _datasource_choice() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}


def _tenant_choice() -> dict[str, Any]:
    asked = {"query": "label_values(paas_tenant_runs_total, tenant)", "refId": "tenants"}
    return {
        "name": "tenant", "label": "Tenant", "type": "query", "query": asked, "datasource": DATASOURCE, "refresh": 2,
        "sort": 1, "hide": 0, "includeAll": False, "multi": False,
    }  # fmt: skip
