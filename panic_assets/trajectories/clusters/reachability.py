"""The minimum spanning tree of mutual reachability: what HDBSCAN is made of, for more points than fit a matrix.

The mutual reachability of two points is their distance, or the distance to the k-th neighbour of either when that is
larger (Campello et al. 2013). Borůvka's algorithm asks for the lightest edge out of every component. Most need no
search: no edge out of a point weighs less than its own k-th neighbour distance, and a neighbour in a denser place has
an edge of just that weight. What is left is searched for in blocks of rows, by matrix products.

Distances are looked through in float32, by products of matrices, which cannot tell near-duplicates apart. So whatever is as
near as the nearest, to within the error of that, is compared again by differences in float64.
"""

import numpy as np

BLOCK = 1 << 26
"""Distances held at once: 256 MB of them."""
ERROR = 2.0**-19
"""Of a squared distance in float32, as a share of the squared lengths that it is the difference of: 32 roundings."""
PAIRS = 1 << 14
"""Pairs whose differences are held at once."""


def spanning_tree(points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """((n - 1, 2) pairs, (n - 1,) their mutual reachability) for n >= k >= 1 distinct points.

    The k-th neighbour counts the point itself as the first, so that k = 1 asks for plain distances.
    """
    n = len(points)
    space = _Space(points)
    neighbours, core = _neighbours(space, k)
    component = np.arange(n)
    floor = core.copy()  # no edge out of the point's component weighs less
    target = np.full(n, -1)  # the other end of the lightest edge known out of the component, and its weight
    weight = np.full(n, np.inf)
    tree, weights = [np.empty((0, 2), np.int64)], [np.empty(0)]
    while component.any():  # the last component is that of point 0
        stale = (target < 0) | (component[target] == component)
        _look_near(np.flatnonzero(stale), neighbours, core, component, target, weight)
        certain = np.flatnonzero(weight <= _least(np.where(weight <= floor, np.inf, floor), component)[component])
        if not len(certain):
            _search(space, core, component, floor, target, weight)
            certain = np.flatnonzero(weight <= _least(np.where(weight <= floor, np.inf, floor), component)[component])
        found = certain[weight[certain] <= _least(weight, component)[component[certain]]]
        found = found[np.unique(component[found], return_index=True)[1]]
        pairs, component = _joined(np.column_stack([found, target[found]]), weight[found], component)
        tree.append(pairs)
        weights.append(np.maximum(space.exact(pairs), core[pairs].max(axis=1)))
    return np.concatenate(tree), np.concatenate(weights)


def core_distances(points: np.ndarray, k: int) -> np.ndarray:
    """(n,) distance of each of n >= k distinct points to its k-th neighbour, itself being the first."""
    return _neighbours(_Space(points), k)[1]


class _Space:
    """Distances between points, many at once in float32 or some in float64."""

    def __init__(self, points: np.ndarray) -> None:
        self.points = points.astype(np.float64)
        # Nearer to the origin, less is lost in subtracting squares.
        self.single = (self.points - self.points.mean(axis=0)).astype(np.float32)
        self.squares = np.einsum("nd,nd->n", self.single, self.single)
        self.error = ERROR * (self.squares + self.squares.max(initial=0.0))
        self.rows = max(1, BLOCK // len(points))

    def squared(self, rows: np.ndarray) -> np.ndarray:
        """(rows, n) squared distances, float32."""
        found = self.single[rows] @ (-2 * self.single.T)
        found += self.squares[rows][:, None]
        found += self.squares
        return np.maximum(found, 0, out=found)

    def exact(self, pairs: np.ndarray) -> np.ndarray:
        """(pairs,) distances, float64; of different points never 0."""
        found = np.empty(len(pairs))
        for start in range(0, len(pairs), PAIRS):
            some = pairs[start : start + PAIRS]
            found[start : start + PAIRS] = np.linalg.norm(self.points[some[:, 0]] - self.points[some[:, 1]], axis=1)
        return np.maximum(found, np.finfo(np.float64).tiny)

    def candidates(self, rows: np.ndarray, squared: np.ndarray, limit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """((c,) positions in `rows`, ascending, (c,) points) whose squared distance may be at most the row's limit."""
        position, point = np.nonzero(squared <= (limit + 2 * self.error[rows])[:, None])
        return position, point


def _neighbours(space: _Space, k: int) -> tuple[np.ndarray, np.ndarray]:
    """((n, k) each point's k nearest, itself first, (n,) the distance to the last of them)."""
    n = len(space.points)
    near, core = np.empty((n, k), np.int32), np.empty(n)
    for start in range(0, n, space.rows):
        rows = np.arange(start, min(start + space.rows, n))
        squared = space.squared(rows)
        squared[np.arange(len(rows)), rows] = -1
        position, point = space.candidates(rows, squared, np.partition(squared, k - 1, axis=1)[:, k - 1])
        distance = space.exact(np.column_stack([rows[position], point]))
        distance[rows[position] == point] = 0.0
        order = np.lexsort((distance, position))
        first = np.searchsorted(position, np.arange(len(rows)))
        chosen = order[first[:, None] + np.arange(k)]
        near[rows] = point[chosen]
        core[rows] = distance[chosen[:, -1]]
    return near, np.maximum(core, np.finfo(np.float64).tiny)


def _least(values: np.ndarray, component: np.ndarray) -> np.ndarray:
    """(n,) the smallest value of each component, at the component's number."""
    least = np.full(len(values), np.inf)
    np.minimum.at(least, component, values)
    return least


def _look_near(
    rows: np.ndarray,
    neighbours: np.ndarray,
    core: np.ndarray,
    component: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
) -> None:
    """The lightest edge out of the component among each row's neighbours, of several as light the shortest."""
    near = neighbours[rows]
    reach = np.where(component[near] == component[rows][:, None], np.inf, np.maximum(core[near], core[rows][:, None]))
    best = (np.arange(len(rows)), reach.argmin(axis=1))
    weight[rows] = reach[best]
    target[rows] = np.where(np.isfinite(reach[best]), near[best], -1)


def _search(
    space: _Space,
    core: np.ndarray,
    component: np.ndarray,
    floor: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
) -> None:
    """Rows that may have the lightest edge out of their component are compared with all points outside.

    The largest component waits: the others will find it.
    """
    largest = np.bincount(component).argmax()
    left = np.flatnonzero((weight > floor) & (component != largest))
    left = left[np.argsort(floor[left], kind="stable")]
    while len(left):
        left = left[floor[left] < _least(weight, component)[component[left]]]
        rows, left = left[: space.rows], left[space.rows :]
        reach = np.maximum(space.squared(rows), (core**2).astype(np.float32))
        reach[component[rows][:, None] == component] = np.inf
        position, point = space.candidates(rows, reach, np.maximum(reach.min(axis=1), core[rows] ** 2))
        distance = space.exact(np.column_stack([rows[position], point]))
        exact = np.maximum(distance, np.maximum(core[point], core[rows[position]]))
        best = np.lexsort((distance, exact, position))[np.searchsorted(position, np.arange(len(rows)))]
        target[rows] = point[best]
        weight[rows] = floor[rows] = exact[best]


def _joined(pairs: np.ndarray, weights: np.ndarray, component: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs that join two components, lightest first, and the components then; the smallest number stays."""
    parent = np.arange(len(component))

    def root(c: int) -> int:
        while parent[c] != c:
            parent[c] = c = parent[parent[c]]
        return c

    kept = []
    for index in np.argsort(weights, kind="stable"):
        one, other = (root(component[point]) for point in pairs[index])
        if one != other:
            parent[max(one, other)] = min(one, other)
            kept.append(index)
    while (parent[parent] != parent).any():
        parent = parent[parent]
    return pairs[kept], parent[component]
