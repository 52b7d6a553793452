"""Writes the dashboards of `boards.py` as Grafana reads them:

python -m deploy.monitoring.dashboards [FOLDER]
"""

import json
import sys
from pathlib import Path
from typing import Any

from deploy.monitoring.boards import BOARDS, Board, Panel

FOLDER = Path(__file__).parents[1] / "grafana/dashboards"
_SOURCE = {"type": "prometheus", "uid": "prometheus"}
_WIDTH, _HEIGHT, _ACROSS = 12, 8, 2
_REFERENCES = "ABCDEFG"


def dashboard(name: str, board: Board) -> dict[str, Any]:
    """One dashboard: two panels beside each other, in the order of the table."""
    return {
        "uid": f"medsage-{name}",
        "title": board.title,
        "tags": ["medsage"],
        "schemaVersion": 41,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": []},
        "annotations": {"list": []},
        "links": [
            {"type": "dashboards", "tags": ["medsage"], "title": "MedSAGE", "asDropdown": True}
        ],
        "panels": [_panel(number, panel) for number, panel in enumerate(board.panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, _ACROSS)
    place = {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
    format_ = "heatmap" if panel.kind == "heatmap" else "time_series"
    targets = [
        {
            "refId": _REFERENCES[at],
            "datasource": _SOURCE,
            "expr": expression,
            "legendFormat": legend,
            "format": format_,
        }
        for at, (expression, legend) in enumerate(panel.queries)
    ]
    options: dict[str, Any] = {"legend": {"displayMode": "list", "placement": "bottom"}}
    if panel.kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}}
    elif panel.kind == "heatmap":
        options = {"calculate": False, "yAxis": {"unit": "short"}}
    return {
        "id": number + 1,
        "title": panel.title,
        "description": panel.description,
        "type": panel.kind,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": options,
        "targets": targets,
    }


def written(name: str) -> str:
    """The text of one file."""
    return json.dumps(dashboard(name, BOARDS[name]), indent=2, ensure_ascii=False) + "\n"


def write(folder: Path = FOLDER) -> None:
    """All of them."""
    for name in BOARDS:
        (folder / f"{name}.json").write_text(written(name), "utf-8")


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:2]))
