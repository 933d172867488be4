"""Renders a chart with Helm's own code, as `helm template` does: render.py CHART [VALUES as JSON].

Prints all documents. A chart that Helm's linter warns of is refused. Run by the Python that tests/helm/fetch.sh prints.
"""

import json
import sys

import helm_python

WARNING = 2


def main() -> None:
    chart, values = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    report = helm_python.lint(chart, values, strict=True)
    complaints = [message for message in report["messages"] if message["severity"] >= WARNING]
    if complaints or report["errors"]:
        sys.exit(f"helm lint: {complaints or report['errors']}")
    rendered = helm_python.Chart.load(chart).render(values, name="kubeward", namespace="default")
    print("\n---\n".join(rendered.values()))


if __name__ == "__main__":
    main()
