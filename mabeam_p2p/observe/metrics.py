"""Figures as Prometheus reads them. The text formats are those of prometheus_client, which the
extra `metrics` brings."""

import importlib
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mabeam_p2p.errors import ConfigError
from mabeam_p2p.observe.catalogue import METRICS, Metric
from mabeam_p2p.records import Figure, Histogram

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

PREFIX = "mabeam_"


def library() -> ModuleType:
    """prometheus_client. Raises ConfigError if it is not installed."""
    try:
        return importlib.import_module("prometheus_client.core")
    except ImportError as error:
        raise ConfigError(
            "--metrics needs the extra `metrics`: python -m pip install 'mabeam-p2p[metrics]'",
            key="metrics",
        ) from error


class Exposition:
    """Writes what is given to it. Raises ConfigError if prometheus_client is missing."""

    def __init__(self, *, name: str, peer: str, cluster: str, version: str) -> None:
        self._families = library()
        self._identity = {"name": name, "peer": peer, "cluster": cluster, "version": version}

    def write(
        self, figures: Iterable[Figure], histograms: Iterable[Histogram], accept: str
    ) -> tuple[bytes, str]:
        """The page, and its content type. accept: the reader's Accept header."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return encode(_Collected(list(self._made(figures, histograms)))), content_type

    def _made(
        self, figures: Iterable[Figure], histograms: Iterable[Histogram]
    ) -> "Iterator[Family]":
        core = self._families
        yield core.InfoMetricFamily(f"{PREFIX}peer", "Who this is.", value=self._identity)
        families: dict[str, Any] = {}
        for figure in figures:
            # One of a name that is not in the catalogue is of another release: left out.
            metric = METRICS.get(figure.name)
            if metric is None:
                continue
            family = families.get(metric.name)
            if family is None:
                family = families[metric.name] = self._family(metric)
            family.add_metric([figure.label] if metric.label else [], figure.value)
        yield from families.values()
        for histogram in histograms:
            metric = METRICS.get(histogram.name)
            if metric is not None:
                family = core.HistogramMetricFamily(PREFIX + metric.name, metric.text)
                family.add_metric([], _buckets(histogram), histogram.total)
                yield family

    def _family(self, metric: Metric) -> Any:
        core, name = self._families, PREFIX + metric.name
        labels = [metric.label] if metric.label else []
        if metric.kind == "counter":
            # The library puts the ending there itself.
            return core.CounterMetricFamily(name.removesuffix("_total"), metric.text, labels=labels)
        return core.GaugeMetricFamily(name, metric.text, labels=labels)


class _Collected:
    """What stands for a registry."""

    def __init__(self, families: "list[Family]") -> None:
        self._collected = families

    def collect(self) -> "list[Family]":
        return self._collected


def _buckets(histogram: Histogram) -> list[tuple[str, int]]:
    """Cumulative, as Prometheus has them."""
    buckets: list[tuple[str, int]] = []
    sum_so_far = 0
    for bound, count in zip((*histogram.bounds, None), histogram.counts, strict=True):
        sum_so_far += count
        buckets.append(("+Inf" if bound is None else str(bound), sum_so_far))
    return buckets
