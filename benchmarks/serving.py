"""How many requests a served model answers, and how long each takes.

`python -m benchmarks.serving --url http://127.0.0.1:5001/invocations --clients 8 --seconds 20` asks a server that
`mlflow models serve --port 5001` has started. Each client keeps one connection and sends its next request once it has the
answer: review sentences of the packaged data, other ones each time, so that nothing is answered from a cache.
"""

from __future__ import annotations

import http.client
import itertools
import json
import statistics
import threading
import time
from urllib.parse import urlsplit

import click


class Client(threading.Thread):
    """Asks again and again over one connection."""

    def __init__(self, url: str, bodies: list[bytes], first: int, until: float) -> None:
        super().__init__()
        self._url, self._until = urlsplit(url), until
        self._bodies = itertools.islice(itertools.cycle(bodies), first, None)
        self.seconds: list[float] = []
        self.failures = 0

    def run(self) -> None:
        """Until the time is over; an answer that is begun is waited for."""
        connection = http.client.HTTPConnection(self._url.hostname or "", self._url.port, timeout=60)
        while time.perf_counter() < self._until:
            began = time.perf_counter()
            connection.request("POST", self._url.path, next(self._bodies), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            self.seconds.append(time.perf_counter() - began)
            self.failures += answer.status != 200 or b"predictions" not in content
        connection.close()


def read_sentences() -> list[str]:
    """Review sentences of the packaged data."""
    from pipeline.config import SplitConfig
    from pipeline.data.source import find_source

    table = find_source("rotten_tomatoes", SplitConfig()).read().parts["all"]
    return [str(text) for text in table["text"]]


def make_bodies(sentences: list[str], texts: int) -> list[bytes]:
    """Requests of so many sentences each."""
    starts = range(0, len(sentences) - texts + 1, texts)
    return [json.dumps({"inputs": sentences[start : start + texts]}).encode() for start in starts]


def measure(url: str, bodies: list[bytes], clients: int, seconds: float) -> dict[str, float]:
    """Requests a second, median and 99th percentile of their milliseconds, and how many failed."""
    began = time.perf_counter()
    asking = [Client(url, bodies, number * len(bodies) // clients, began + seconds) for number in range(clients)]
    for client in asking:
        client.start()
    for client in asking:
        client.join()
    took = time.perf_counter() - began
    each = sorted(itertools.chain.from_iterable(client.seconds for client in asking))
    return {
        "requests": len(each),
        "per_second": len(each) / took,
        "median_ms": 1000 * statistics.median(each),
        "p99_ms": 1000 * each[min(len(each) - 1, int(0.99 * len(each)))],
        "failures": sum(client.failures for client in asking),
    }


@click.command()
@click.option("--url", default="http://127.0.0.1:5001/invocations", show_default=True, help="Where the model answers.")
@click.option("--clients", default=8, show_default=True, help="How many ask at once.")
@click.option("--seconds", default=20.0, show_default=True, help="For how long, after a warm-up of a fifth of it.")
@click.option("--texts", default="1,32", show_default=True, help="Sentences a request, separated by commas.")
def main(url: str, clients: int, seconds: float, texts: str) -> None:
    """Ask a served model with several clients at once."""
    sentences = read_sentences()
    click.echo(
        "| texts a request | requests a second | texts a second | median ms | 99th percentile ms | failed |\n"
        + 6 * "|---"
        + "|"
    )
    for count in map(int, texts.split(",")):
        bodies = make_bodies(sentences, count)
        measure(url, bodies, clients, seconds / 5)
        found = measure(url, bodies, clients, seconds)
        rate = found["per_second"]
        click.echo(
            f"| {count} | {rate:.1f} | {rate * count:.0f} | {found['median_ms']:.0f} | {found['p99_ms']:.0f} "
            f"| {found['failures']:.0f} of {found['requests']:.0f} |"
        )


if __name__ == "__main__":
    main()
