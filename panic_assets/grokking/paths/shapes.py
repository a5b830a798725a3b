"""The shape of a path in a plane: its loops, its convex hull, the area it encloses. Compiled, for it runs often."""

from dataclasses import dataclass

import numpy as np
from numba import njit

Array = np.ndarray


@dataclass(frozen=True)
class Figure:
    """What a path looks like in one plane. `loop` is the largest loop between two visits to a crossing, over the
    hull's area; 0 without a crossing. `signed` is the signed area over the hull's. On a line all are 0."""

    loop: float
    crossings: int
    signed: float


def figure(points: Array) -> Figure:
    """Shape of a path (n, 2)."""
    points = np.ascontiguousarray(points, float)
    hull = hull_area(points)
    if hull <= 0:
        return Figure(0.0, 0, 0.0)
    loops = np.abs(loop_areas(points))
    return Figure(float(loops.max(initial=0.0)) / hull, len(loops), signed_area(points) / hull)


@njit(cache=True)
def _cross(ax: float, ay: float, bx: float, by: float) -> float:
    return ax * by - ay * bx


@njit(cache=True)
def loop_areas(points: Array) -> Array:
    """(m,) signed areas of the loops from each proper self-crossing of a polyline (n, 2) along it and back: by the
    first segment of the crossing, then by the later one. Touching does not count."""
    n = len(points)
    # along[i]: twice the area swept, seen from the origin, from the first point to point i.
    along = np.zeros(n)
    for i in range(1, n):
        along[i] = along[i - 1] + _cross(points[i - 1, 0], points[i - 1, 1], points[i, 0], points[i, 1])
    areas = []
    for i in range(n - 3):
        x, y = points[i]
        dx, dy = points[i + 1, 0] - x, points[i + 1, 1] - y
        for j in range(i + 2, n - 1):
            ex, ey = points[j + 1, 0] - points[j, 0], points[j + 1, 1] - points[j, 1]
            across = _cross(dx, dy, ex, ey)
            if across == 0:
                continue
            apart_x, apart_y = points[j, 0] - x, points[j, 1] - y
            t = _cross(apart_x, apart_y, ex, ey) / across
            u = _cross(apart_x, apart_y, dx, dy) / across
            if 0 < t < 1 and 0 < u < 1:
                at_x, at_y = x + t * dx, y + t * dy
                there = _cross(at_x, at_y, points[i + 1, 0], points[i + 1, 1])
                back = _cross(points[j, 0], points[j, 1], at_x, at_y)
                areas.append(0.5 * (there + along[j] - along[i + 1] + back))
    return np.array(areas)


@njit(cache=True)
def signed_area(points: Array) -> float:
    """Area enclosed by the path (n, 2) closed with a straight line, counted positive anticlockwise."""
    total = 0.0
    for i in range(len(points)):
        total += _cross(points[i - 1, 0], points[i - 1, 1], points[i, 0], points[i, 1])
    return total / 2


def hull_area(points: Array) -> float:
    """Area of the convex hull of (n, 2); 0 for points on a line, to within rounding."""
    return float(_hull_area(points[np.lexsort((points[:, 1], points[:, 0]))]))


@njit(cache=True)
def _hull_area(points: Array) -> float:
    """By Andrew's monotone chain, of points in order of x, then y."""
    hull = np.empty((len(points), 2))
    area, extent = 0.0, 0.0
    for step in (1, -1):
        count = 0
        for x, y in points[::step]:
            while count > 1:
                (ax, ay), (bx, by) = hull[count - 2], hull[count - 1]
                if _cross(bx - ax, by - ay, x - bx, y - by) > 0:
                    break
                count -= 1
            hull[count] = x, y
            count += 1
        for i in range(1, count):
            area += 0.5 * _cross(hull[i - 1, 0] - x, hull[i - 1, 1] - y, hull[i, 0] - x, hull[i, 1] - y)
            extent = max(extent, (hull[i, 0] - x) ** 2 + (hull[i, 1] - y) ** 2)
    return area if area > 1e-12 * extent else 0.0
