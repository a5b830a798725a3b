"""Views of a run over its epochs, as scenes for animations: one basis, aligned signs, fixed axes. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from panic_assets.errors import UserError, suggest
from panic_assets.graphics.animation import Scene
from panic_assets.grokking.analysis import activations, centroids
from panic_assets.grokking.analysis import arrays as arrays_of
from panic_assets.grokking.spectra import circle, fourier, neurons, pca

Checkpoint = Mapping[str, Any]
"""The nine matrices by their long names, as `analysis.load` gives them."""
Make = Callable[[str, Sequence[int], Sequence[Checkpoint], Mapping[str, str]], Scene]


def embedding(run: str, epochs: Sequence[int], checkpoints: Sequence[Checkpoint], options: Mapping[str, str]) -> Scene:
    """Rows of a matrix (`matrix`, W_E) on two components of the last epoch, or each epoch's own (`basis`: final, own)."""
    matrix, own = options.get("matrix", "W_E"), options.get("basis", "final") == "own"
    rows = [pca.token_rows(arrays_of(w)) for w in checkpoints]
    if matrix not in rows[0]:
        raise UserError(f"matrix is {matrix!r}{suggest(matrix, rows[0])} (accepted: {', '.join(rows[0])})")
    return _components(f"{run}: rows of {matrix}", epochs, [r[matrix] for r in rows], own)


def centroids_of_answers(
    run: str, epochs: Sequence[int], checkpoints: Sequence[Checkpoint], options: Mapping[str, str]
) -> Scene:
    """The answers' centroids at a `site` (resid_post) on two components of the last epoch, or each epoch's own."""
    site, own = _site(options), options.get("basis", "final") == "own"
    return _components(f"{run}: answers at {site}", epochs, _centroids(checkpoints, site), own)


def _components(title: str, epochs: Sequence[int], points: Sequence[np.ndarray], own: bool) -> Scene:
    """Points (n, d) of every epoch on two components of the last, or each on its own with signs aligned."""
    if own:
        scores = pca.aligned([pca.of_rows(p).scores for p in points])
    else:
        final = pca.of_rows(points[-1])
        if final.axes is None:
            raise UserError(
                f"{title}: the points coincide in the last checkpoint, so it has no components; use basis=own"
            )
        scores = [pca.project(p, final)[0] for p in points]
    return Scene(
        f"{title}, {'own' if own else 'final'} basis",
        "points",
        tuple(epochs),
        tuple((s[:, 0], s[:, 1]) for s in scores),
        "PC1",
        "PC2",
        np.arange(len(scores[0])) / len(scores[0]),
        equal_axes=True,
    )


def _site(options: Mapping[str, str]) -> str:
    site = options.get("site", "resid_post")
    if site not in circle.SITES:
        raise UserError(f"site is {site!r}; accepted: {', '.join(circle.SITES)}")
    return site


def _centroids(checkpoints: Sequence[Checkpoint], site: str) -> list[np.ndarray]:
    p = len(arrays_of(checkpoints[0])["W_E"]) - 1
    return [centroids(activations(w), p)[site] for w in checkpoints]


def ring(run: str, epochs: Sequence[int], checkpoints: Sequence[Checkpoint], options: Mapping[str, str]) -> Scene:
    """The answers' centroids at a `site` (resid_post), in the plane that frequency `k` (the strongest) has at the end."""
    site = _site(options)
    points = _centroids(checkpoints, site)
    p = len(points[0])
    found = circle.rings(points[-1])
    if "k" not in options and not found:
        raise UserError(f"the answers form no ring at {site} in the last checkpoint; choose a frequency, as in k=5")
    k = int(options["k"]) if "k" in options else found[0].k
    if not 1 <= k <= (p - 1) // 2:
        raise UserError(f"k is {k}; for p={p} it must be 1 to {(p - 1) // 2}")
    last = points[-1] - points[-1].mean(axis=0)
    plane = np.linalg.svd(fourier.basis(p)[[2 * k - 1, 2 * k]] @ last, full_matrices=False)[2]
    flat = [(c - c.mean(axis=0)) @ plane.T for c in points]
    share = [circle.ring(c, k) for c in points]
    return Scene(
        f"{run}: answers at {site}, frequency {k}",
        "points",
        tuple(epochs),
        tuple((f[:, 0], f[:, 1]) for f in flat),
        "first axis of the plane of k",
        "second axis of the plane of k",
        (np.arange(p) * k % p) / p,
        equal_axes=True,
        notes=tuple("" if r is None else f"circularity {r.circularity:.2f}" for r in share),
    )


def trajectory(run: str, epochs: Sequence[int], checkpoints: Sequence[Checkpoint], options: Mapping[str, str]) -> Scene:
    """The path through parameter space of a `group` (all), on two of its `components` (12, 13 or 23)."""
    group, pair = options.get("group", "all"), options.get("components", "12")
    if group not in pca.GROUPS:
        raise UserError(f"group is {group!r}{suggest(group, pca.GROUPS)} (accepted: {', '.join(pca.GROUPS)})")
    if pair not in ("12", "13", "23"):
        raise UserError(f"components is {pair!r}; accepted: 12, 13, 23")
    found = pca.of_gram(pca.group_gram(pca.grams([arrays_of(w) for w in checkpoints]), group))
    a, b = (int(c) - 1 for c in pair)
    shares = found.shares if found.shares is not None else np.zeros(3)
    return Scene(
        f"{run}: path of {group}",
        "path",
        tuple(epochs),
        tuple((found.scores[: i + 1, a], found.scores[: i + 1, b]) for i in range(len(epochs))),
        f"PC{a + 1} ({shares[a]:.0%})",
        f"PC{b + 1} ({shares[b]:.0%})",
    )


def spectrum(run: str, epochs: Sequence[int], checkpoints: Sequence[Checkpoint], options: Mapping[str, str]) -> Scene:
    """Energy share of every frequency in a weight `space` (W_E)."""
    space = options.get("space", "W_E")
    frames = []
    for weights in checkpoints:
        spaces = fourier.weight_spaces(arrays_of(weights))
        if space not in spaces:
            raise UserError(f"space is {space!r}{suggest(space, spaces)} (accepted: {', '.join(spaces)})")
        share = fourier.fractions(spaces[space])
        ks = fourier.frequencies(len(spaces[space]))
        frames.append((ks, np.zeros(len(ks)) if share is None else share))
    count = len(frames[0][0])
    hues = np.arange(count) / count
    return Scene(f"{run}: spectrum of {space}", "bars", tuple(epochs), tuple(frames), "frequency k", "share", hues)


def spaces(run: str, epochs: Sequence[int], checkpoints: Sequence[Checkpoint], options: Mapping[str, str]) -> Scene:
    """Energy share of every frequency (across) in every weight space (down)."""
    found = [fourier.weight_spaces(arrays_of(w)) for w in checkpoints]
    names = tuple(found[0])
    frames = []
    for each in found:
        ks = fourier.frequencies(len(each[names[0]]))
        share = [fourier.fractions(each[n]) for n in names]
        frames.append((ks, np.stack([np.zeros(len(ks)) if s is None else s for s in share])))
    return Scene(f"{run}: weight spaces", "heat", tuple(epochs), tuple(frames), "frequency k", "", rows=names)


def neuron_frequencies(
    run: str, epochs: Sequence[int], checkpoints: Sequence[Checkpoint], options: Mapping[str, str]
) -> Scene:
    """Every neuron: its dominant frequency (across, spread a little) and its concentration on it."""
    frames = []
    for weights in checkpoints:
        p = len(arrays_of(weights)["W_E"]) - 1
        k, value = neurons.dominant(neurons.concentrations(activations(weights).neurons, p))
        spread = np.linspace(-0.3, 0.3, len(k))
        frames.append((k + spread, value))
    last = np.round(frames[-1][0]) / max(float(np.round(frames[-1][0]).max()), 1) * 0.85
    return Scene(
        f"{run}: neurons, coloured by final frequency",
        "points",
        tuple(epochs),
        tuple(frames),
        "frequency k",
        "concentration",
        last,
    )


VIEWS: dict[str, Make] = {
    "embedding": embedding,
    "centroids": centroids_of_answers,
    "ring": ring,
    "trajectory": trajectory,
    "spectrum": spectrum,
    "spaces": spaces,
    "neurons": neuron_frequencies,
}
OPTIONS = {
    "embedding": ("matrix", "basis"),
    "centroids": ("site", "basis"),
    "ring": ("site", "k"),
    "trajectory": ("group", "components"),
    "spectrum": ("space",),
    "spaces": (),
    "neurons": (),
}


def scene(
    view: str, run: str, epochs: Sequence[int], checkpoints: Sequence[Checkpoint], options: Mapping[str, str]
) -> Scene:
    """The scene of a view by name; refuses an unknown view or option."""
    check(view, options)
    return VIEWS[view](run, epochs, checkpoints, options)


def check(view: str, options: Mapping[str, str]) -> None:
    """Refuse a request that could not be drawn, before it is queued."""
    if view not in VIEWS:
        raise UserError(f"view is {view!r}{suggest(view, VIEWS)} (accepted: {', '.join(VIEWS)})")
    for name in options:
        if name not in OPTIONS[view]:
            accepted = ", ".join(OPTIONS[view]) or "none"
            raise UserError(f"view {view} has no option {name!r}{suggest(name, OPTIONS[view])} (accepted: {accepted})")
    if "basis" in options and options["basis"] not in ("final", "own"):
        raise UserError(f"basis is {options['basis']!r}; accepted: final, own")
    if "k" in options and not options["k"].isdecimal():
        raise UserError(f"k is {options['k']!r}; it must be a whole number")
