"""Who is who: the pairs of two groups that together fit best."""

import numpy as np


def best_pairs(score_MN: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Pairs (m, n) whose scores above `least` have the largest sum; each is in one pair at most.

    Kuhn's Hungarian method with potentials, O(n³): 20 faces take a millisecond. Taking the best
    pair first would give two people who cross each other's boxes.
    """
    rows, columns = score_MN.shape
    if not rows or not columns:
        return []
    size = max(rows, columns)
    cost = np.zeros((size + 1, size + 1))  # row and column 0 are the method's own
    gain = np.maximum(score_MN - least, 0.0)
    cost[1 : rows + 1, 1 : columns + 1] = -gain
    row_price, column_price = np.zeros(size + 1), np.zeros(size + 1)
    owner = np.zeros(size + 1, int)  # of each column
    for row in range(1, size + 1):
        owner[0], column = row, 0
        cheapest, came_from = np.full(size + 1, np.inf), np.zeros(size + 1, int)
        done = np.zeros(size + 1, bool)
        while True:
            done[column] = True
            reduced = cost[owner[column]] - row_price[owner[column]] - column_price
            better = ~done & (reduced < cheapest)
            better[0] = False
            cheapest[better], came_from[better] = reduced[better], column
            open_ = np.where(done, np.inf, cheapest)
            open_[0] = np.inf
            nearest = int(open_.argmin())
            step = open_[nearest]
            row_price[owner[done]] += step
            column_price[done] -= step
            cheapest[~done] -= step
            column = nearest
            if owner[column] == 0:
                break
        while column:
            previous = int(came_from[column])
            owner[column] = owner[previous]
            column = previous
    pairs = [(int(owner[c]) - 1, c - 1) for c in range(1, size + 1)]
    return sorted((m, n) for m, n in pairs if m < rows and n < columns and score_MN[m, n] > least)
