"""The regularised incomplete beta function, in logarithms: what the exact interval and one e-process are made of."""

from __future__ import annotations

from math import exp, inf, lgamma, log, log1p

_TERMS_MAX = 100_000
_STEPS_MAX = 200
_ENOUGH = 1e-15
_ENOUGH_X = 1e-12
_TINY = 1e-300


def log_beta(a: float, b: float) -> float:
    """Return the logarithm of the beta function, a and b > 0."""
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def log_beta_cdf(x: float, a: float, b: float) -> float:
    """Return log I_x(a, b): how probable a value of at most x is under Beta(a, b), as a logarithm.

    The continued fraction of NIST DLMF 8.17.22, from the side on which it converges fast.
    """
    if x <= 0:
        return -inf
    if x >= 1:
        return 0.0
    front = a * log(x) + b * log1p(-x) - log_beta(a, b)
    if x <= (a + 1) / (a + b + 2):
        return min(0.0, front - log(a * _fraction(x, a, b)))
    return log1p(-exp(front - log(b * _fraction(1 - x, b, a))))


def beta_quantile(log_p: float, a: float, b: float) -> float:
    """Return the x with log I_x(a, b) = `log_p`, for a and b >= 1.

    The logarithm is concave there. So each step of Newton's method ends below the solution, and the next ones climb.
    """
    x = a / (a + b)
    for _ in range(_STEPS_MAX):
        value = log_beta_cdf(x, a, b)
        log_slope = (a - 1) * log(x) + (b - 1) * log1p(-x) - log_beta(a, b) - value
        step = (value - log_p) * exp(-log_slope)
        x = x - step if step < x else x / 2
        if abs(step) < _ENOUGH_X * x:
            break
    return x


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction 1 + d1/(1 + d2/(1 + ...)) by the modified method of Lentz (DLMF 3.10(iii))."""
    value = above = 1.0
    below = 0.0
    for term in range(1, _TERMS_MAX):
        m = term // 2
        if term % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        below = 1 / (1 + d * below or _TINY)
        above = 1 + d / above or _TINY
        value *= above * below
        if abs(above * below - 1) < _ENOUGH:
            break
    return value
