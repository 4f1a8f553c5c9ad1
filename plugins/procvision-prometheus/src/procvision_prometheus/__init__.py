"""Metrics of a host for Prometheus: `[hooks.prometheus] port = 9464`."""

from procvision_prometheus.plugin import Prometheus

__all__ = ["Prometheus"]
