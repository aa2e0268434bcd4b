"""Read measured conversions page by page, in the order of their start, fast enough for stores of many thousands.

MLflow finds a page by its position, and sorts all matching runs for each page. For a database that is opened here,
that cost would grow faster than the store; so pages are windows of time. For a server, most time goes into writing each
run as JSON there and reading it here; so the next page is requested meanwhile.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.tracking.store import experiments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.store.entities import PagedList

MEASURED = "tags.`almaflow.device_actual`"
"""A tag of the runs of measured conversions, and of no others."""
ORDER = ["attributes.start_time ASC"]
"""MLflow puts runs that started at once in the order of their IDs."""
PAGE = 1000
AT_ONCE = 2
"""Pages that are requested from a server at once: it makes one while the other is read."""


@dataclass(frozen=True)
class MeasuredRuns:
    """The measured runs of all experiments of a store.

    ``names`` holds the experiments' names by their IDs; ``where`` is MLflow's filter; ``serves`` tells a server.
    """

    client: MlflowClient
    names: dict[str, str]
    where: str
    serves: bool

    @classmethod
    def of(cls, client: MlflowClient, *, serves: bool) -> MeasuredRuns:
        """Choose the filter that the store of a client understands.

        For each page, MLflow joins the tags of all runs where a filter compares a tag's value, and looks up those of
        runs within reach where it asks whether a tag is there. Older servers can only compare.
        """
        from mlflow.exceptions import MlflowException

        names = experiments(client)
        where = f"{MEASURED} IS NOT NULL"
        try:
            client.search_runs(list(names), where, max_results=1)
        except MlflowException:
            where = f"{MEASURED} != ''"
        return cls(client, names, where, serves)

    def at(self, position: int) -> Run | None:
        """Return the run at a position; None behind the last one."""
        return next(iter(self._page(self.where, position, 1)), None)

    def since(self, position: int) -> Iterator[Run]:
        """Return the runs from a position on."""
        return self._ahead(position) if self.serves else self._in_windows(position)

    def _page(self, where: str, position: int, most: int) -> PagedList[Run]:
        from mlflow.utils.search_utils import SearchUtils

        token = SearchUtils.create_page_token(position).decode() if position else None  # type: ignore[no-untyped-call]
        return self.client.search_runs(list(self.names), where, max_results=most, order_by=ORDER, page_token=token)

    def _ahead(self, position: int) -> Iterator[Run]:
        """Read pages by their position, and request the next one while one is read."""
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            requests = deque(pool.submit(self._page, self.where, position + PAGE * k, PAGE) for k in range(AT_ONCE))
            while True:
                page = requests.popleft().result()
                yield from page
                if not page.token:
                    return
                position += PAGE
                requests.append(pool.submit(self._page, self.where, position + PAGE * (AT_ONCE - 1), PAGE))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _in_windows(self, position: int) -> Iterator[Run]:
        """Read windows of time, each as long as fills a page where runs come as often as in the one before."""
        since, until = 0, 0
        while True:
            window = f"{self.where} AND attributes.start_time >= {since}"
            if until:
                window += f" AND attributes.start_time < {until}"
            page = self._page(window, position, PAGE)
            yield from page
            if not (page.token or until):
                return
            starts = [run.info.start_time for run in page]
            length = starts[-1] - starts[0] if starts else 0
            if length:
                since, position = starts[-1], starts.count(starts[-1])
            else:  # those before it may have started then too
                position += len(starts)
            until = since + 2 * length if page.token and length else 0
