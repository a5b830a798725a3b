"""Cheapest matching of points in the plane, compiled: a point is matched with one of the others, or left single.

A linear program, solved together with its dual. Every point *pays*: at most its price of being single, and two
points together at most the cost of matching them. Nobody pays at first. A point that is neither matched nor pays
its single price is settled by a shortest augmenting path (Jonker and Volgenant 1987), until there is none left:
then all that is paid is what the matching costs, so neither can be bettered.

Matchings are sought among near neighbours only, which a few per cent of all pairs are. A pair outside that could
pay too much together is found by bounding boxes, joins the neighbours, and its points are settled again: the end
is optimal among all pairs.
"""

# Compiled functions infer their types from their arguments.
# mypy: disallow-untyped-defs=False
# ruff: noqa: ANN001, ANN202
import heapq

import numpy as np
from numba import njit

from panic_assets.trajectories.topology.lunes import lowest

_NOBODY = -1
_NEAR = 16
"""Neighbours looked at first. Any number gives the same answer."""
_BOX, _STRIP = 16, 128
"""Points in a bounding box, and in the strips that boxes are cut from."""
_ROUNDING = 1e-11
"""Share of the largest single price by which a pair may pay too much unnoticed."""


def cheapest(
    a: np.ndarray, b: np.ndarray, single_a: np.ndarray, single_b: np.ndarray, p: float, ground: float
) -> float:
    """Least total cost of points a (n, 2) and b (m, 2), both sorted by their first coordinate.

    Matching i with j costs their distance ** p in the `ground` norm, leaving them single single_a[i] and single_b[j].
    """
    if len(a) == 0 or len(b) == 0:
        return float(single_a.sum() + single_b.sum())
    inside = np.lexsort((b[:, 1], np.arange(len(b)) // _STRIP))
    inside = np.pad(inside, (0, -len(b) % _BOX), mode="edge").reshape(-1, _BOX)
    boxes = np.hstack([b[inside].min(axis=1), b[inside].max(axis=1)])
    return _cheapest(a, b, single_a, single_b, p, ground, inside, boxes)


@njit(cache=True, nogil=True)
def _cheapest(a, b, single_a, single_b, p, ground, inside, boxes):
    pays_a, pays_b = np.zeros(len(a)), np.zeros(len(b))
    of_a, of_b = np.full(len(a), _NOBODY), np.full(len(b), _NOBODY)
    slack = _ROUNDING * max(single_a.max(), single_b.max())
    rows, columns, costs = _nearest(a, b, single_a, single_b, p, ground)
    more_columns, more_rows, more_costs = _nearest(b, a, single_b, single_a, p, ground)
    while True:
        rows, columns = np.append(rows, more_rows), np.append(columns, more_columns)
        costs = np.append(costs, more_costs)
        for k in range(len(more_costs)):
            over = pays_a[more_rows[k]] + pays_b[more_columns[k]] - more_costs[k]
            if over > 0:
                pays_a[more_rows[k]] -= over
                if of_a[more_rows[k]] != _NOBODY:
                    of_b[of_a[more_rows[k]]] = _NOBODY
                    of_a[more_rows[k]] = _NOBODY
        _settle(_grouped(rows, columns, costs, len(a)), single_a, pays_a, pays_b, of_a, of_b)
        _settle(_grouped(columns, rows, costs, len(b)), single_b, pays_b, pays_a, of_b, of_a)
        more_rows, more_columns, more_costs = _overpaid(a, b, pays_a, pays_b, p, ground, inside, boxes, slack)
        if len(more_costs) == 0:
            break
    total = 0.0
    for i in range(len(a)):
        total += single_a[i] if of_a[i] == _NOBODY else _cost(a, i, b, of_a[i], p, ground)
    for j in range(len(b)):
        if of_b[j] == _NOBODY:
            total += single_b[j]
    return total


@njit(cache=True, nogil=True)
def cheapest_on_a_line(a: np.ndarray, b: np.ndarray, single_a: np.ndarray, single_b: np.ndarray, p: float) -> float:
    """The same for points on a line, sorted: an optimal matching does not cross, so it is an alignment.

    For infinite p the largest cost instead of the sum of all, and distances as they are.
    """
    largest = np.isinf(p)
    best = np.zeros(len(b) + 1)
    for j in range(len(b)):
        best[j + 1] = _and(best[j], single_b[j], largest)
    for i in range(len(a)):
        apart = np.abs(a[i] - b)
        if p != 1 and not largest:
            apart = apart**p
        diagonal = best[0]
        best[0] = _and(best[0], single_a[i], largest)
        for j in range(len(b)):
            matched = _and(diagonal, apart[j], largest)
            diagonal = best[j + 1]
            best[j + 1] = min(matched, _and(best[j + 1], single_a[i], largest), _and(best[j], single_b[j], largest))
    return best[-1]


@njit(cache=True, nogil=True)
def _and(total, cost, largest):
    return max(total, cost) if largest else total + cost


@njit(cache=True, nogil=True)
def covers(near: np.ndarray, m: int) -> bool:
    """Whether every row can have a column of its own: (k, words) uint64 bits say which of the m columns it may have."""
    row_of, column_of = np.full(m, _NOBODY), np.full(len(near), _NOBODY)
    before, todo = np.empty(m, np.int64), np.empty(len(near), np.int64)
    for start in range(len(near)):
        unseen = ~np.zeros(near.shape[1], np.uint64)
        todo[0], waiting = start, 1
        end = np.int64(_NOBODY)
        while waiting > 0 and end == _NOBODY:
            waiting -= 1
            row = todo[waiting]
            for i in range(len(unseen)):
                new = near[row, i] & unseen[i]
                unseen[i] ^= new
                while new and end == _NOBODY:
                    j = np.int64(64 * i + lowest(new))
                    new &= new - np.uint64(1)
                    before[j] = row
                    if row_of[j] == _NOBODY:
                        end = j
                    else:
                        todo[waiting] = row_of[j]
                        waiting += 1
                if end != _NOBODY:
                    break
        if end == _NOBODY:
            return False  # These rows have fewer columns between them than they are.
        while end != _NOBODY:
            row = before[end]
            row_of[end] = row
            column_of[row], end = end, column_of[row]
    return True


@njit(cache=True, nogil=True)
def _cost(a, i, b, j, p, ground):
    dx, dy = abs(a[i, 0] - b[j, 0]), abs(a[i, 1] - b[j, 1])
    if ground == 2:
        distance = np.sqrt(dx * dx + dy * dy)
    elif np.isinf(ground):
        distance = max(dx, dy)
    else:
        distance = (dx**ground + dy**ground) ** (1 / ground)
    return distance if p == 1 else distance**p


@njit(cache=True, nogil=True)
def _nearest(a, b, single_a, single_b, p, ground):
    """Pairs of each point of a with the nearest of b that are cheaper together than single: rows, columns, costs."""
    near = min(_NEAR, len(b))
    rows, columns = np.empty(len(a) * near, np.int64), np.empty(len(a) * near, np.int64)
    costs = np.empty(len(a) * near)
    count = 0
    best, which = np.empty(near), np.empty(near, np.int64)
    places = np.searchsorted(b[:, 0], a[:, 0])
    for i in range(len(a)):
        left, right = places[i] - 1, places[i]
        best[:] = np.inf
        while True:
            to_left = a[i, 0] - b[left, 0] if left >= 0 else np.inf
            to_right = b[right, 0] - a[i, 0] if right < len(b) else np.inf
            if min(to_left, to_right) >= best[-1]:
                break
            if to_left <= to_right:
                j = left
                left -= 1
            else:
                j = right
                right += 1
            distance = _cost(a, i, b, j, 1.0, ground)
            k = near
            while k > 0 and best[k - 1] > distance:
                k -= 1
                if k + 1 < near:
                    best[k + 1], which[k + 1] = best[k], which[k]
            if k < near:
                best[k], which[k] = distance, j
        for k in range(near):
            cost = best[k] if p == 1 else best[k] ** p
            if cost < single_a[i] + single_b[which[k]]:
                rows[count], columns[count], costs[count] = i, which[k], cost
                count += 1
    return rows[:count], columns[:count], costs[:count]


@njit(cache=True, nogil=True)
def _overpaid(a, b, pays_a, pays_b, p, ground, inside, boxes, slack):
    """Pairs that together pay more than matching them costs: rows, columns, costs. Boxes are (x, y, x, y), low, high."""
    rows, columns = np.empty(len(a), np.int64), np.empty(len(a), np.int64)
    costs = np.empty(len(a))
    count = 0
    most = np.full(len(boxes), -np.inf)
    for box in range(len(boxes)):
        for j in inside[box]:
            most[box] = max(most[box], pays_b[j])
    for i in range(len(a)):
        for box in range(len(boxes)):
            pay = pays_a[i] + most[box] - slack
            if pay <= 0:
                continue
            dx = max(boxes[box, 0] - a[i, 0], a[i, 0] - boxes[box, 2], 0.0)
            dy = max(boxes[box, 1] - a[i, 1], a[i, 1] - boxes[box, 3], 0.0)
            if (max(dx, dy) if p == 1 else max(dx, dy) ** p) >= pay:  # No norm is less than the larger coordinate.
                continue
            for j in inside[box]:
                cost = _cost(a, i, b, j, p, ground)
                if cost < pays_a[i] + pays_b[j] - slack:
                    if count == len(rows):
                        rows, columns = np.append(rows, np.empty_like(rows)), np.append(columns, np.empty_like(rows))
                        costs = np.append(costs, np.empty_like(costs))
                    rows[count], columns[count], costs[count] = i, j, cost
                    count += 1
    return rows[:count], columns[:count], costs[:count]


@njit(cache=True, nogil=True)
def _grouped(rows, columns, costs, n):
    """Pairs by rows: where each row starts, its columns and its costs."""
    starts = np.zeros(n + 1, np.int64)
    for row in rows:
        starts[row + 1] += 1
    starts = np.cumsum(starts)
    at = starts.copy()
    by_row, by_row_costs = np.empty_like(columns), np.empty_like(costs)
    for k in range(len(rows)):
        by_row[at[rows[k]]], by_row_costs[at[rows[k]]] = columns[k], costs[k]
        at[rows[k]] += 1
    return starts, by_row, by_row_costs


@njit(cache=True, nogil=True)
def _settle(pairs, single, row_pays, column_pays, column_of, row_of):
    """Settle every row: matched, or single and paying for it. Columns that were settled stay so."""
    starts, columns, costs = pairs
    n, m = len(row_pays), len(column_pays)
    distance, before = np.empty(m), np.empty(m, np.int64)
    seen, scanned = np.zeros(m, np.int64), np.empty(m, np.int64)
    reached, rows = np.empty(n), np.empty(n, np.int64)
    for start in range(n):
        if column_of[start] == _NOBODY and row_pays[start] < single[start]:
            _augment(
                start, starts, columns, costs, single, row_pays, column_pays, column_of, row_of,
                distance, before, seen, scanned, reached, rows,
            )  # fmt: skip


@njit(cache=True, nogil=True)
def _augment(
    start, starts, columns, costs, single, row_pays, column_pays, column_of, row_of,
    distance, before, seen, scanned, reached, rows,
):  # fmt: skip
    """Match row `start`, or leave it or another row single, by a shortest path in what is left to pay."""
    stamp = start + 1  # seen[j] == stamp: distance[j] is of this search; -stamp: it is final
    heap = [(0.0, np.int64(_NOBODY))]
    heap.pop()
    row, here = start, 0.0
    shortest, single_at, end = np.inf, np.int64(_NOBODY), np.int64(_NOBODY)
    n_scanned, n_rows = 0, 0
    while True:
        reached[n_rows], rows[n_rows] = here, row
        n_rows += 1
        if here + single[row] - row_pays[row] < shortest:
            shortest, single_at = here + single[row] - row_pays[row], row
        for k in range(starts[row], starts[row + 1]):
            j = columns[k]
            if seen[j] == -stamp:
                continue
            length = here + max(0.0, costs[k] - row_pays[row] - column_pays[j])
            if length < shortest and (seen[j] != stamp or length < distance[j]):
                distance[j], before[j], seen[j] = length, row, stamp
                if row_of[j] == _NOBODY:
                    shortest, single_at, end = length, np.int64(_NOBODY), j
                else:
                    heapq.heappush(heap, (length, j))
        found = np.int64(_NOBODY)
        while heap:
            length, column = heapq.heappop(heap)
            if length >= shortest:
                break
            if seen[column] == stamp and length == distance[column]:
                found = np.int64(column)
                break
        if found == _NOBODY:
            break
        seen[found] = -stamp
        scanned[n_scanned] = found
        n_scanned += 1
        row, here = row_of[found], distance[found]
    for k in range(n_rows):
        row_pays[rows[k]] += shortest - reached[k]
    for k in range(n_scanned):
        column_pays[scanned[k]] -= shortest - distance[scanned[k]]
    if single_at != _NOBODY:
        end = column_of[single_at]
        column_of[single_at] = _NOBODY
        row_pays[single_at] = single[single_at]
        if single_at == start:
            return
    while True:
        row = before[end]
        row_of[end] = row
        column_of[row], end = end, column_of[row]
        if row == start:
            return
