"""The device code of the greedy selections. One program runs one batch entry from the first pick to the last.

Similarities and what is made of them stay whole numbers of 1 / ONE (int32, sums in int64), so gain and coverage do not
depend on the order of a reduction. Scores are float64; the means and ranges they are divided by are common to all
tokens, so that a last bit of theirs moves all scores alike and leaves exact ties ties. The maximum breaks these to the
left. The list of rows that a new token changes goes through scratch in global memory, read back after a barrier.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Triton types arguments at launch; its decorator is untyped.

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def absorb(similarity, scratch, covered, gain, row, cols, inside, n, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Gain and coverage after a token with similarities ``row`` joined; see ``incremental.CoverageGain.add``."""
    changed = (row > covered) & inside
    ones = changed.to(tl.int32)
    slot = tl.cumsum(ones, axis=0) - 1
    count = tl.sum(ones, axis=0)
    tl.store(scratch + slot, cols, mask=changed)
    tl.store(scratch + n + slot, covered, mask=changed)
    tl.store(scratch + 2 * n + slot, row, mask=changed)
    tl.debug_barrier()
    for start in range(0, count, ROWS):
        place = start + tl.arange(0, ROWS)
        there = place < count
        index = tl.load(scratch + place, mask=there, other=0)
        old = tl.load(scratch + n + place, mask=there, other=0)
        new = tl.load(scratch + 2 * n + place, mask=there, other=0)
        where = there[:, None] & inside[None, :]
        rows = tl.load(similarity + index.to(tl.int64)[:, None] * n + cols[None, :], mask=where, other=0)
        lost = tl.minimum(tl.maximum(rows, old[:, None]), new[:, None]) - old[:, None]
        gain -= tl.sum(lost.to(tl.int64), axis=0)
    # The next call overwrites the list: all warps must have read it.
    tl.debug_barrier()
    return gain, tl.maximum(covered, row)


@triton.jit
def normalised(term, left, count, MINMAX: tl.constexpr):
    """A term over its mean, or range, among what is left; zero where that is zero."""
    infinity = float("inf")
    if MINMAX:
        low = tl.min(tl.where(left, term, infinity), axis=0)
        scale = tl.max(tl.where(left, term, -infinity), axis=0) - low
        term = term - low
    else:
        scale = tl.sum(tl.where(left, term, 0.0), axis=0) / count
    return tl.where(scale == 0.0, 0.0, term / tl.where(scale == 0.0, 1.0, scale))


@triton.jit
def tops_program(
    similarity,
    relevance,
    first,
    covered,
    gain,
    scratch,
    order,
    score,
    weights,
    n,
    k,
    USE_R: tl.constexpr,
    USE_C: tl.constexpr,
    USE_D: tl.constexpr,
    MINMAX: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    ONE: tl.constexpr,
):
    """TOPS, from the second pick on: the first, its coverage and the first gain come from the launcher."""
    entry = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK)
    inside = cols < n
    similarity += entry * n * n
    scratch += entry * 3 * n
    relevant = tl.load(relevance + entry * n + cols, mask=inside, other=0.0)
    cover = tl.load(covered + entry * n + cols, mask=inside, other=ONE)
    gained = tl.load(gain + entry * n + cols, mask=inside, other=0)
    alpha = tl.load(weights)
    lam = tl.load(weights + 1)
    chosen = tl.load(first + entry).to(tl.int32)
    left = inside & (cols != chosen)
    tl.store(order + entry * k, chosen.to(tl.int64))
    tl.store(score + entry * k, tl.load(relevance + entry * n + chosen))
    for step in range(1, k):
        count = (n - step).to(tl.float64)
        total = tl.zeros([BLOCK], tl.float64)
        if USE_R:
            total += normalised(relevant, left, count, MINMAX)
        if USE_C:
            total += lam * normalised(gained.to(tl.float64), left, count, MINMAX)
        if USE_D:
            total += alpha * normalised((ONE - cover).to(tl.float64), left, count, MINMAX)
        total = tl.where(left, total, float("-inf"))
        best, chosen = tl.max(total, axis=0, return_indices=True)
        tl.store(order + entry * k + step, chosen.to(tl.int64))
        tl.store(score + entry * k + step, best)
        left = left & (cols != chosen)
        if USE_C or USE_D:
            row = tl.load(similarity + chosen.to(tl.int64) * n + cols, mask=inside, other=-ONE)
            if USE_C:
                gained, cover = absorb(similarity, scratch, cover, gained, row, cols, inside, n, ROWS, BLOCK)
            else:
                cover = tl.maximum(cover, row)


@triton.jit
def coverage_program(
    similarity,
    weight,
    gain,
    scratch,
    order,
    score,
    n,
    k,
    MULTIPLY: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    ONE: tl.constexpr,
):
    """Facility location with a weight; coverage starts at zero, the first gain comes from the launcher."""
    entry = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK)
    inside = cols < n
    similarity += entry * n * n
    scratch += entry * 3 * n
    weights = tl.load(weight + entry * n + cols, mask=inside, other=0.0)
    gained = tl.load(gain + entry * n + cols, mask=inside, other=0)
    cover = tl.zeros([BLOCK], tl.int32)
    left = inside
    for step in range(k):
        total = gained.to(tl.float64) / ONE
        total = total * weights if MULTIPLY else total + weights
        best, chosen = tl.max(tl.where(left, total, float("-inf")), axis=0, return_indices=True)
        tl.store(order + entry * k + step, chosen.to(tl.int64))
        tl.store(score + entry * k + step, best)
        left = left & (cols != chosen)
        row = tl.load(similarity + chosen.to(tl.int64) * n + cols, mask=inside, other=-ONE)
        gained, cover = absorb(similarity, scratch, cover, gained, row, cols, inside, n, ROWS, BLOCK)


@triton.jit
def max_min_program(similarity, nearest, order, score, n, k, BLOCK: tl.constexpr, ONE: tl.constexpr):
    """Max-min diversity; ``nearest`` is each token's largest similarity to another one."""
    entry = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK)
    inside = cols < n
    similarity += entry * n * n
    closest = tl.load(nearest + entry * n + cols, mask=inside, other=ONE)
    cover = tl.full([BLOCK], -ONE, tl.int32)
    left = inside
    for step in range(k):
        distance = ((ONE - closest).to(tl.float64)) / ONE
        best, chosen = tl.max(tl.where(left, distance, float("-inf")), axis=0, return_indices=True)
        tl.store(order + entry * k + step, chosen.to(tl.int64))
        tl.store(score + entry * k + step, best)
        left = left & (cols != chosen)
        row = tl.load(similarity + chosen.to(tl.int64) * n + cols, mask=inside, other=-ONE)
        cover = tl.maximum(cover, row)
        closest = cover


@triton.jit
def dpp_program(
    similarity,
    quality,
    floor,
    factors,
    order,
    score,
    n,
    k,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    ONE: tl.constexpr,
):
    """Greedy MAP by the incremental Cholesky form; ``factors`` (k, n) holds the rows so far."""
    entry = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK)
    inside = cols < n
    similarity += entry * n * n
    factors += entry * k * n
    good = tl.load(quality + entry * n + cols, mask=inside, other=0.0)
    least = tl.load(floor + entry * n + cols, mask=inside, other=0.0)
    residual = good * good
    left = inside
    for step in range(k):
        best, chosen = tl.max(tl.where(left, residual, float("-inf")), axis=0, return_indices=True)
        tl.store(order + entry * k + step, chosen.to(tl.int64))
        tl.store(score + entry * k + step, best)
        left = left & (cols != chosen)
        row = tl.load(similarity + chosen.to(tl.int64) * n + cols, mask=inside, other=0)
        kernel = good * (row.to(tl.float64) / ONE) * tl.load(quality + entry * n + chosen)
        for start in range(0, step, ROWS):
            place = start + tl.arange(0, ROWS)
            there = place < step
            past = factors + place.to(tl.int64) * n
            rows = tl.load(past[:, None] + cols[None, :], mask=there[:, None] & inside[None, :], other=0.0)
            at = tl.load(past + chosen, mask=there, other=0.0)
            kernel -= tl.sum(rows * at[:, None], axis=0)
        factor = tl.where(best > 0.0, kernel / tl.sqrt(tl.where(best > 0.0, best, 1.0)), 0.0)
        tl.store(factors + step * n + cols, factor, mask=inside)
        tl.debug_barrier()
        residual -= factor * factor
        residual = tl.where(residual > least, residual, 0.0)
