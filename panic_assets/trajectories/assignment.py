"""Optional assignment of points to points, compiled: who is better matched than left alone.

Shortest augmenting paths (Jonker and Volgenant 1987) on the sparse graph of pairs that save anything. A row may
stay single, at cost 0, which stands in for the second diagonal of the usual (n + m) x (n + m) matrix.
"""

# Compiled functions infer their types from their arguments.
# mypy: disallow-untyped-defs=False
# ruff: noqa: ANN001, ANN202
import heapq

import numpy as np
from numba import njit

_SINGLE, _FREE = -2, -1


@njit(cache=True)
def largest_saving(
    a: np.ndarray, b: np.ndarray, single_a: np.ndarray, single_b: np.ndarray, p: float, ground: float
) -> float:
    """Largest total saving of matching points a (n, 2) with points b (m, 2) over leaving all of them single.

    Matching i with j costs their distance ** p in the `ground` norm and saves single_a[i] + single_b[j].
    """
    starts, columns, costs = _savings(a, b, single_a, single_b, p, ground)
    n, m = len(a), len(b)
    row_price, column_price = np.zeros(n), np.zeros(m)
    column_of, row_of = np.full(n, _FREE, np.int64), np.full(m, _FREE, np.int64)
    # Rows bid for their best column, as in an auction; what two rounds leave free is settled exactly below.
    bids = 0
    for _ in range(2):
        for start in range(n):
            row = start
            while column_of[row] == _FREE and bids < 8 * n:
                bids += 1
                best, second, choice = 0.0, 0.0, -1
                for k in range(starts[row], starts[row + 1]):
                    reduced = costs[k] - column_price[columns[k]]
                    if reduced < best:
                        best, second, choice = reduced, best, columns[k]
                    elif reduced < second:
                        second = reduced
                if choice == -1:
                    row_price[row] = 0.0
                    column_of[row] = _SINGLE
                    break
                row_price[row] = second
                if second == best and row_of[choice] != _FREE:
                    row_price[row] = best
                    break
                column_price[choice] -= second - best
                loser = row_of[choice]
                row_of[choice], column_of[row] = row, choice
                if loser == _FREE:
                    break
                column_of[loser] = _FREE
                row = loser
    distance, before = np.empty(m), np.empty(m, np.int64)
    seen, scanned = np.zeros(m, np.int64), np.empty(m, np.int64)
    reached, rows = np.empty(n), np.empty(n, np.int64)
    for start in range(n):
        if column_of[start] == _FREE:
            _augment(
                start, starts, columns, costs, row_price, column_price, column_of, row_of,
                distance, before, seen, scanned, reached, rows,
            )  # fmt: skip
    total = 0.0
    for row in range(n):
        for k in range(starts[row], starts[row + 1]):
            if columns[k] == column_of[row]:
                total -= costs[k]
    return total


@njit(cache=True)
def _savings(a, b, single_a, single_b, p, ground):
    """Negative costs of the pairs that save anything, by rows: where each starts, its columns and its costs."""
    reach_a, reach_b = single_a ** (1 / p), single_b ** (1 / p)
    starts = np.zeros(len(a) + 1, np.int64)
    columns, costs = np.empty(len(a) + len(b), np.int64), np.empty(len(a) + len(b))
    k = 0
    for i in range(len(a)):
        for j in range(len(b)):
            dx, dy = abs(a[i, 0] - b[j, 0]), abs(a[i, 1] - b[j, 1])
            if max(dx, dy) >= reach_a[i] + reach_b[j]:
                continue
            if np.isinf(ground):
                distance = max(dx, dy)
            elif ground == 2:
                distance = np.sqrt(dx * dx + dy * dy)
            else:
                distance = (dx**ground + dy**ground) ** (1 / ground)
            saving = single_a[i] + single_b[j] - (distance if p == 1 else distance**p)
            if saving > 0:
                if k == len(columns):
                    columns, costs = np.append(columns, np.empty_like(columns)), np.append(costs, np.empty_like(costs))
                columns[k], costs[k] = j, -saving
                k += 1
        starts[i + 1] = k
    return starts, columns[:k], costs[:k]


@njit(cache=True)
def largest_saving_on_a_line(
    a: np.ndarray, b: np.ndarray, single_a: np.ndarray, single_b: np.ndarray, p: float
) -> float:
    """The same for points on a line, sorted: an optimal matching does not cross, so it is an alignment."""
    best = np.zeros(len(b) + 1)
    for i in range(len(a)):
        diagonal = 0.0
        for j in range(len(b)):
            matched = diagonal + single_a[i] + single_b[j] - abs(a[i] - b[j]) ** p
            diagonal = best[j + 1]
            best[j + 1] = max(matched, best[j + 1], best[j])
    return best[-1]


@njit(cache=True)
def _augment(
    start, starts, columns, costs, row_price, column_price, column_of, row_of,
    distance, before, seen, scanned, reached, rows,
):  # fmt: skip
    """Match row `start`, or leave it or another row single, by a shortest path in reduced costs."""
    stamp = start + 1  # seen[j] == stamp: distance[j] is of this search; -stamp: it is final
    heap = [(0.0, np.int64(-1))]
    heap.pop()
    row, here = start, 0.0
    single_at, shortest = -1, np.inf
    end = np.int64(-1)
    n_scanned, n_rows = 0, 0
    while True:
        reached[n_rows], rows[n_rows] = here, row
        n_rows += 1
        if here - row_price[row] < shortest:
            shortest, single_at = here - row_price[row], row
        for k in range(starts[row], starts[row + 1]):
            j = columns[k]
            if seen[j] == -stamp:
                continue
            length = here + costs[k] - row_price[row] - column_price[j]
            if length < shortest and (seen[j] != stamp or length < distance[j]):
                distance[j], before[j], seen[j] = length, row, stamp
                heapq.heappush(heap, (length, j))
        found = np.int64(-1)
        while heap:
            length, j = heapq.heappop(heap)
            if seen[j] == stamp and length == distance[j]:
                found = j
                break
        if found == -1 or distance[found] >= shortest:
            break
        seen[found] = -stamp
        if row_of[found] == _FREE:
            shortest, end = distance[found], found
            break
        scanned[n_scanned] = found
        n_scanned += 1
        row, here = row_of[found], distance[found]
    for k in range(n_rows):
        row_price[rows[k]] += shortest - reached[k]
    for k in range(n_scanned):
        column_price[scanned[k]] -= shortest - distance[scanned[k]]
    if end == -1:
        end = column_of[single_at]
        column_of[single_at] = _SINGLE
        if single_at == start:
            return
    while True:
        row = before[end]
        row_of[end] = row
        column_of[row], end = end, column_of[row]
        if row == start:
            return
