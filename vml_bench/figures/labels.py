"""Labels beside points without overlap: greedy placement, then a few rounds of moving each to where it costs least."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ANGLES = np.deg2rad([0, 180, 40, 140, -40, -140, 90, -90, 20, 160, -20, -160, 65, 115, -65, -115])
DISTANCES = (2.5, 6.0, 11.0, 17.0, 24.0, 32.0)
"""Points between a marker and the nearest edge of its label."""
ROUNDS = 4
LABELS, MARKERS, LINES = 50.0, 25.0, 3.0
"""Cost of a square point of overlap, in points of distance."""
CROSSED = 8.0
"""Cost of each sixth of the way from point to label that lies under another label or marker."""
OUTSIDE = 1e4
"""Cost of a point beyond the frame."""


def overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Areas shared by boxes (n, 4) and others (m, 4), each (left, bottom, right, top): (n, m)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.prod(np.clip(high - low, 0, None), axis=2)


def candidates(point: np.ndarray, size: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Boxes around a point for a label of a size, and the cost of each by its distance: (n, 4), (n,).

    Args:
        point: (2,) in points.
        size: (2,) width and height.
        reach: half the width of the marker.
    """
    boxes, costs = [], []
    for gap in DISTANCES:
        for preference, angle in enumerate(ANGLES):
            away = np.array([np.cos(angle), np.sin(angle)])
            centre = point + away * (reach + gap) + size / 2 * away / np.abs(away).max()
            boxes.append([*(centre - size / 2), *(centre + size / 2)])
            costs.append(gap + 0.1 * preference)
    return np.array(boxes), np.array(costs)


def ways(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Five places on the way from each point (n, 2) to the nearest of its box (n, 4), as empty boxes: (n, 5, 4)."""
    steps = np.arange(1, 6)[None, :, None] / 6
    places = points[:, None] + (np.clip(points, boxes[:, :2], boxes[:, 2:]) - points)[:, None] * steps
    return np.concatenate([places - 0.25, places + 0.25], axis=2)


def place(
    anchors: Sequence[np.ndarray],
    sizes: np.ndarray,
    markers: np.ndarray,
    lines: np.ndarray,
    frame: np.ndarray,
    reach: float = 3.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose a box for each label and which of its points it stands at, all in points of the page.

    Args:
        anchors: for each label the (k, 2) points at any of which it may stand.
        sizes: (n, 2) width and height of the labels.
        markers: (m, 2) every point, each a marker of half-width `reach`.
        lines: (l, 4) boxes of thin lines that labels should not cover.
        frame: (4,) no label leaves it.

    Returns:
        (n, 4) boxes and (n, 2) points; the same for the same input.
    """
    blocks = np.hstack([markers - reach, markers + reach])
    options, costs, points = [], [], []
    for own, size in zip(anchors, sizes, strict=True):
        found = [candidates(point, size, reach) for point in own]
        boxes, cost = (np.concatenate(parts) for parts in zip(*found, strict=True))
        at = np.repeat(own, len(found[0][1]), axis=0)
        outside = np.clip(frame[:2] - boxes[:, :2], 0, None) + np.clip(boxes[:, 2:] - frame[2:], 0, None)
        cost = cost + MARKERS * overlap(boxes, blocks).sum(axis=1) + OUTSIDE * outside.sum(axis=1)
        cost += LINES * overlap(boxes, lines).sum(axis=1) if len(lines) else 0
        others = blocks[(markers[:, None] != own[None]).any(axis=2).all(axis=1)]
        options.append(boxes)
        costs.append(cost + _crossed(ways(at, boxes), others))
        points.append(at)
    chosen: list[int | None] = [None] * len(sizes)
    crowd = [overlap(np.hstack([own[-1:] - 30, own[-1:] + 30]), blocks).sum() for own in anchors]
    for _ in range(ROUNDS):
        for i in np.argsort(-np.array(crowd), kind="stable"):
            others = [(j, k) for j, k in enumerate(chosen) if j != i and k is not None]
            boxes = np.array([options[j][k] for j, k in others]).reshape(-1, 4)
            led = np.concatenate([ways(points[j][k][None], options[j][k][None])[0] for j, k in others] or [boxes])
            cost = costs[i] + LABELS * overlap(options[i], boxes).sum(axis=1)
            cost = cost + _crossed(ways(points[i], options[i]), boxes)
            cost = cost + CROSSED * (overlap(options[i], led) > 0).sum(axis=1)
            chosen[i] = int(np.argmin(cost))
    picked = list(enumerate(chosen))
    return np.array([options[i][k] for i, k in picked]), np.array([points[i][k] for i, k in picked])


def _crossed(ways_: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Cost of each of n ways (n, 5, 4) for passing under boxes (m, 4): (n,)."""
    if not len(boxes):
        return np.zeros(len(ways_))
    under = overlap(ways_.reshape(-1, 4), boxes) > 0
    return CROSSED * under.any(axis=1).reshape(len(ways_), -1).sum(axis=1)
