"""The way back: conv2d_solve against NumPy's lstsq and SciPy's nnls on the matrix that the oracle's loops make, conv2d_rank
against NumPy's singular values, and what both promise beside their numbers."""
import itertools

import numpy as np
import pytest
import scipy.optimize

import oracle
from convolution import conv2d, conv2d_rank, conv2d_solve

MODES = ["zeros", "reflect", "symmetric", "replicate", "circular"]


def matrix(kernel, size, **options):
    """A, one column for each unit image of this size (height, width, channels), channels last."""
    units = np.eye(np.prod(size)).reshape(-1, *size)
    return oracle.conv2d(units, kernel, **options)[0].astype(np.float64).reshape(len(units), -1).T


def problem(seed, size=(5, 6, 2), kernel_shape=(3, 3, 2, 3), noise=0.3, batch=1, **options):
    """Kernel, bias, A and an output that is not quite in A's range."""
    rng = np.random.default_rng(seed)
    kernel, bias = rng.standard_normal(kernel_shape), rng.standard_normal(kernel_shape[3])
    A = matrix(kernel, size, **options)
    x = rng.standard_normal((batch, *size))
    y = oracle.conv2d(x, kernel, bias, **options)[0].astype(np.float64)
    return kernel, bias, A, x, y + noise * rng.standard_normal(y.shape)


def stacked(A, y, bias, damping=0.0, known=None):
    """The rows and right side whose plain least squares are the damped and masked ones."""
    known = np.ones(y.size, bool) if known is None else known.ravel()
    right = (y - bias).ravel()[known]
    return np.vstack([A[known], damping * np.eye(A.shape[1])]), np.concatenate([right, np.zeros(A.shape[1])])


def least_squares(A, right):
    return np.linalg.lstsq(A, right, rcond=None)[0]


def distance(x, expected):
    return np.linalg.norm(x.ravel() - expected.ravel()) / np.linalg.norm(expected)


LAYERS = {
    "rank-deficient": dict(kernel_shape=(3, 3, 2, 1), strides=2),
    "underdetermined": dict(kernel_shape=(2, 3, 2, 2)),
    "overdetermined": dict(kernel_shape=(3, 2, 2, 4), padding="full"),
    "stride and dilation": dict(kernel_shape=(2, 3, 2, 7), strides=(2, 1), dilation_rate=(2, 1), padding="same"),
    "groups": dict(kernel_shape=(3, 3, 1, 4), groups=2, padding=((1, 2), (0, 1))),
    "crop, flipped": dict(kernel_shape=(2, 2, 2, 5), padding=((-1, 1), (1, -2)), flip_kernel=True),
    "skipped pixels": dict(kernel_shape=(1, 1, 2, 3), strides=2),
}


# ----------------------------------------------------------------------------------------------------------- least squares


@pytest.mark.parametrize("name", LAYERS)
def test_is_the_smallest_least_squares_solution(name, isa):
    kernel, bias, A, _, y = problem(1, **LAYERS[name])
    options = {key: value for key, value in LAYERS[name].items() if key != "kernel_shape"}
    solution = conv2d_solve(y, kernel, (5, 6), bias, tolerance=1e-14, max_iterations=3000, isa=isa, **options)
    expected = least_squares(A, (y - bias).ravel())
    assert solution.outcome in ("converged", "stagnated")  # rounding may stand before 1e-14
    assert distance(solution.x, expected) < 1e-10
    residual = A @ expected - (y - bias).ravel()
    assert abs(solution.residual_norm - np.linalg.norm(residual)) < 1e-10 * np.linalg.norm(y)
    assert solution.normal_residual < 1e-12 * np.linalg.norm(A.T @ (y - bias).ravel())


@pytest.mark.parametrize("mode", MODES[1:])
def test_padding_modes(mode):
    options = dict(padding=((1, 2), (2, 1)), padding_mode=mode, strides=(1, 2))
    kernel, bias, A, _, y = problem(2, **options, kernel_shape=(3, 2, 2, 5))
    solution = conv2d_solve(y, kernel, (5, 6), bias, damping=0.1, **options)
    assert solution.outcome == "converged"
    assert distance(solution.x, least_squares(*stacked(A, y, bias, 0.1))) < 1e-10


def test_constant_padding_is_part_of_the_layer():
    options = dict(padding=1, padding_mode="constant", padding_value=2.5)
    rng = np.random.default_rng(3)
    kernel, bias, x = rng.standard_normal((3, 3, 2, 4)), rng.standard_normal(4), rng.standard_normal((1, 5, 6, 2))
    y = oracle.conv2d(x, kernel, bias, **options)[0].astype(np.float64)
    solution = conv2d_solve(y, kernel, (5, 6), bias, tolerance=1e-15, **options)
    assert distance(solution.x, x) < 1e-10


@pytest.mark.parametrize("damping", [1e-3, 0.5, 30.0])
def test_damped(damping):
    kernel, bias, A, _, y = problem(4)
    solution = conv2d_solve(y, kernel, (5, 6), bias, damping=damping)
    assert solution.outcome == "converged"
    assert distance(solution.x, least_squares(*stacked(A, y, bias, damping))) < 1e-9
    rest = A.T @ (A @ solution.x.ravel() - (y - bias).ravel()) + damping**2 * solution.x.ravel()
    assert np.linalg.norm(rest) < 1e-11 * np.linalg.norm(A.T @ (y - bias).ravel())
    assert abs(np.linalg.norm(rest) - solution.normal_residual) < 1e-12 * np.linalg.norm(A.T @ y.ravel())


def test_masked():
    kernel, bias, A, _, y = problem(5, kernel_shape=(3, 3, 2, 5))
    known = np.random.default_rng(6).random(y.shape) < 0.7
    expected = least_squares(*stacked(A, y, bias, 0, known))
    y[~known] = np.nan
    solution = conv2d_solve(y, kernel, (5, 6), bias, mask=known)
    assert solution.outcome == "converged"
    assert distance(solution.x, expected) < 1e-9
    nothing = conv2d_solve(y, kernel, (5, 6), bias, mask=np.zeros(y.shape, bool))
    assert nothing.outcome == "converged" and nothing.iterations == 0 and not nothing.x.any()


def test_relu_undone_by_a_mask():
    rng = np.random.default_rng(7)
    x, kernel = rng.standard_normal((1, 6, 6, 1)), rng.standard_normal((3, 3, 1, 8))
    y = conv2d(x, kernel, padding="same", activation="relu")
    assert (y == 0).sum() > 50
    solution = conv2d_solve(y, kernel, (6, 6), mask=y > 0, padding="same", tolerance=1e-15)
    assert distance(solution.x, x) < 1e-12


def test_a_start_is_kept_where_nothing_is_known():
    """From a start, the result is the nearest of all solutions, not the smallest."""
    kernel, bias, A, _, y = problem(8, kernel_shape=(3, 3, 2, 1), noise=0)
    start = np.random.default_rng(9).standard_normal((1, 5, 6, 2))
    solution = conv2d_solve(y, kernel, (5, 6), bias, start=start)
    expected = start.ravel() + least_squares(A, (y - bias).ravel() - A @ start.ravel())
    assert distance(solution.x, expected) < 1e-10
    again = conv2d_solve(y, kernel, (5, 6), bias, start=solution.x, tolerance=1e-10)
    assert again.outcome == "converged" and again.iterations == 0
    assert np.array_equal(again.x, solution.x)


# ------------------------------------------------------------------------------------------------------------ nonnegative


@pytest.mark.parametrize("seed, damping, masked", itertools.product(range(3), [0.0, 0.2], [False, True]))
def test_nonnegative(seed, damping, masked):
    layer = [dict(kernel_shape=(3, 3, 2, 6)), dict(kernel_shape=(3, 3, 2, 4), padding="same"),
             dict(kernel_shape=(2, 2, 2, 3), padding="full")][seed]
    kernel, bias, A, _, y = problem(seed + 10, noise=1.0, **layer)
    known = np.random.default_rng(seed).random(y.shape) < 0.9 if masked else None
    rows, right = stacked(A, y, bias, damping, known)
    assert np.linalg.matrix_rank(rows) == rows.shape[1]  # so that there is one minimum only
    expected = scipy.optimize.nnls(rows, right)[0]
    options = {key: value for key, value in layer.items() if key != "kernel_shape"}
    solution = conv2d_solve(
        y, kernel, (5, 6), bias, damping=damping, mask=known, nonnegative=True, max_iterations=5000, **options)
    assert solution.outcome == "converged"
    assert solution.x.min() == 0
    assert 10 < (expected == 0).sum() < 50
    assert distance(solution.x, expected) < 1e-8
    assert np.array_equal(solution.x.ravel() == 0, expected == 0)


def test_nonnegative_start_is_cut_off_at_zero():
    kernel, bias, A, _, y = problem(13, kernel_shape=(3, 3, 2, 6), noise=1.0)
    expected = scipy.optimize.nnls(A, (y - bias).ravel())[0]
    start = np.random.default_rng(14).standard_normal((1, 5, 6, 2)) * 3
    solution = conv2d_solve(y, kernel, (5, 6), bias, start=start, nonnegative=True, max_iterations=5000)
    assert solution.outcome == "converged" and distance(solution.x, expected) < 1e-8


def test_nonnegative_with_nothing_to_gain():
    """Every element wants to be negative."""
    solution = conv2d_solve(-np.ones((1, 3, 3, 1)), np.ones((3, 3, 1, 1)), (5, 5), nonnegative=True)
    assert solution.outcome == "converged" and solution.iterations == 0 and not solution.x.any()
    assert solution.residual_norm == 3 and solution.normal_residual == 0


# --------------------------------------------------------------------------------------------------------------- outcomes


def test_small_cases_by_hand():
    y, pair = np.array([3.0, 5]).reshape(1, 1, 2, 1), np.ones((1, 2, 1, 1))
    solution = conv2d_solve(y, pair, (1, 3))
    assert np.allclose(solution.x.ravel(), [1 / 3, 8 / 3, 7 / 3], rtol=1e-14) and solution.iterations <= 2
    y, kernel = np.array([1.0, 4, 7, 6]).reshape(1, 1, 4, 1), np.array([1.0, 2]).reshape(1, 2, 1, 1)
    solution = conv2d_solve(y, kernel, (1, 3), padding="full", flip_kernel=True)
    assert np.allclose(solution.x.ravel(), [1, 2, 3], rtol=1e-13) and solution.iterations == 3


def test_iterations_run_out():
    kernel, bias, _, _, y = problem(15)
    solution = conv2d_solve(y, kernel, (5, 6), bias, max_iterations=4)
    assert solution.outcome == "iteration_limit" and solution.iterations == 4
    more = conv2d_solve(y, kernel, (5, 6), bias, max_iterations=5)
    assert more.residual_norm < solution.residual_norm
    # A blur of nine elements is so ill-conditioned that the default number of iterations does not suffice either.
    blur = np.array([1.0, 8, 28, 56, 70, 56, 28, 8, 1]).reshape(1, 9, 1, 1) / 256
    solution = conv2d_solve(np.random.default_rng(1).standard_normal((1, 1, 200, 1)), blur, (1, 208))
    assert solution.outcome == "iteration_limit" and solution.iterations == 1000


def test_no_tolerance_is_the_twelfth_digit():
    kernel = np.outer([1, 4, 1], [1, 3, 1]).reshape(3, 3, 1, 1) / 30
    y = conv2d(np.random.default_rng(5).standard_normal((1, 16, 16, 1)), kernel, padding="same")
    iterations = {tolerance: conv2d_solve(y, kernel, (16, 16), padding="same", tolerance=tolerance).iterations
                  for tolerance in (None, 1e-11, 1e-12, 1e-13)}
    assert iterations[1e-11] < iterations[None] == iterations[1e-12] < iterations[1e-13]


@pytest.mark.parametrize("nonnegative", [False, True])
def test_each_iterate_is_better_than_the_last(nonnegative):
    kernel, bias, A, _, y = problem(16, kernel_shape=(3, 3, 2, 6))
    seen = []

    def progress(image, iteration, residual_norm, normal_residual, x):
        assert image == 0 and iteration == len(seen) + 1 and x.shape == (5, 6, 2)
        rest = A @ x.ravel() - (y - bias).ravel()
        assert abs(np.linalg.norm(rest) - residual_norm) < 1e-11 * np.linalg.norm(y)
        slope = A.T @ rest
        if nonnegative:
            assert x.min() >= 0
            slope = np.where(x.ravel() > 0, slope, np.minimum(slope, 0))
        assert abs(np.linalg.norm(slope) - normal_residual) < 1e-10 * np.linalg.norm(A.T @ y.ravel())
        seen.append(residual_norm)

    solution = conv2d_solve(y, kernel, (5, 6), bias, progress=progress, nonnegative=nonnegative)
    assert solution.outcome == "converged" and solution.iterations == len(seen) > 10
    assert all(later <= earlier * (1 + 1e-14) for earlier, later in itertools.pairwise(seen))


def test_progress_stops():
    kernel, bias, _, _, y = problem(17, batch=3)
    seen = []

    def progress(image, iteration, residual_norm, normal_residual, x):
        seen.append((image, iteration, x))
        return image == 1 and iteration == 5

    start = np.random.default_rng(18).standard_normal((3, 5, 6, 2))
    solution = conv2d_solve(y, kernel, (5, 6), bias, start=start, progress=progress)
    whole = conv2d_solve(y, kernel, (5, 6), bias, start=start)
    assert solution.outcome == "stopped" and seen[-1][:2] == (1, 5)
    assert np.array_equal(solution.x[0], whole.x[0])
    assert np.array_equal(solution.x[1], seen[-1][2])
    assert np.array_equal(solution.x[2], start[2])


def test_nonnegative_images_after_a_stop_are_nonnegative():
    kernel, bias, _, _, y = problem(17, batch=2)
    start = np.random.default_rng(18).standard_normal((2, 5, 6, 2))
    solution = conv2d_solve(y, kernel, (5, 6), bias, start=start, nonnegative=True, progress=lambda *_: True)
    assert solution.outcome == "stopped" and solution.x[0].min() >= 0
    assert np.array_equal(solution.x[1], np.maximum(start[1], 0))


def test_progress_that_raises():
    kernel, bias, _, _, y = problem(19)

    def progress(*_):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        conv2d_solve(y, kernel, (5, 6), bias, progress=progress)


@pytest.mark.parametrize("nonnegative", [False, True])
def test_more_digits_than_there_are_stagnate(nonnegative):
    kernel, bias, A, _, y = problem(20, kernel_shape=(3, 3, 2, 8))
    solution = conv2d_solve(y, kernel, (5, 6), bias, tolerance=1e-30, max_iterations=10**6, nonnegative=nonnegative)
    assert solution.outcome == "stagnated" and solution.iterations < 2000
    expected = scipy.optimize.nnls(A, (y - bias).ravel())[0] if nonnegative else least_squares(A, (y - bias).ravel())
    assert distance(solution.x, expected) < 1e-11


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("place", ["y", "kernel", "bias", "start"])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_what_is_not_finite_stagnates(value, place, nonnegative):
    kernel, bias, _, _, y = problem(21)
    arrays = dict(y=y, kernel=kernel, bias=bias, start=np.zeros((1, 5, 6, 2)))
    arrays[place].flat[1] = value
    solution = conv2d_solve(y, kernel, (5, 6), bias, start=arrays["start"], nonnegative=nonnegative)
    assert solution.outcome in ("stagnated", "converged" if value == 1e300 else "stagnated")
    if place != "start" and value != 1e300:
        assert not solution.x.any()


@pytest.mark.parametrize("nonnegative", [False, True])
def test_squares_that_vanish_are_no_convergence(nonnegative):
    y = np.full((1, 3, 3, 1), 1e-200)
    solution = conv2d_solve(y, np.ones((3, 3, 1, 1)), (5, 5), nonnegative=nonnegative)
    assert solution.outcome == "stagnated" and not solution.x.any()


def test_a_batch_reports_the_most_of_its_images():
    kernel, bias, _, _, y = problem(15)
    solution = conv2d_solve(np.concatenate([y, np.zeros_like(y) + bias]), kernel, (5, 6), bias, max_iterations=4)
    assert solution.outcome == "iteration_limit" and solution.iterations == 4 and not solution.x[1].any()


def test_workspace_and_algorithm_play_no_part():
    rng = np.random.default_rng(31)
    kernel, y = rng.standard_normal((3, 3, 16, 16)), rng.standard_normal((1, 8, 8, 16))
    plain = conv2d_solve(y, kernel, (8, 8), padding="same", max_iterations=3)
    other = conv2d_solve(y, kernel, (8, 8), padding="same", max_iterations=3, workspace_limit=1, algorithm="winograd")
    assert np.array_equal(other.x, plain.x) and other[1:] == plain[1:]


# ---------------------------------------------------------------------------------------------------------------- equal bits


def bits(x):
    return x.tobytes()


@pytest.mark.parametrize("nonnegative", [False, True])
def test_equal_bits(isa, nonnegative):
    """For any threads, batch, data format, kernel format and strides. 96 x 80 x 3 is enough work for several threads."""
    rng = np.random.default_rng(22)
    kernel, bias, y = rng.standard_normal((5, 5, 3, 4)), rng.standard_normal(4), rng.standard_normal((2, 96, 80, 4))
    options = dict(padding="same", max_iterations=12, damping=0.1, nonnegative=nonnegative, isa=isa)
    mask = rng.random(y.shape) < 0.9
    first = conv2d_solve(y, kernel, (96, 80), bias, threads=1, mask=mask, **options)
    assert first.iterations == 12
    for threads in (2, 5, 0):
        again = conv2d_solve(y, kernel, (96, 80), bias, threads=threads, mask=mask, **options)
        assert bits(again.x) == bits(first.x) and again[1:] == first[1:]
    alone = conv2d_solve(y[1:], kernel, (96, 80), bias, mask=mask[1:], **options)
    assert bits(alone.x) == bits(first.x[1:])
    torch = conv2d_solve(
        y.transpose(0, 3, 1, 2), kernel.transpose(3, 2, 0, 1), (96, 80), bias, data_format="NCHW",
        mask=mask.transpose(0, 3, 1, 2), **options)
    assert bits(np.ascontiguousarray(torch.x.transpose(0, 2, 3, 1))) == bits(first.x)
    assert torch[1:] == first[1:]
    wide = np.full((2, 192, 80, 8), np.nan)
    wide[:, ::-2, :, ::2] = y
    assert bits(conv2d_solve(wide[:, ::-2, :, ::2], kernel, (96, 80), bias, mask=mask, **options).x) == bits(first.x)


def test_float32_is_solved_in_double():
    kernel, bias, _, _, y = (np.float32(array) for array in problem(23))
    single = conv2d_solve(y, kernel, (5, 6), bias, damping=0.01)
    double = conv2d_solve(*(array.astype(np.float64) for array in (y, kernel)), (5, 6), bias.astype(np.float64), damping=0.01)
    assert single.x.dtype == np.float32 and single[1:] == double[1:]
    assert np.array_equal(single.x, double.x.astype(np.float32))


def test_progress_shows_the_callers_format():
    kernel, bias, _, _, y = problem(24)
    shown = []
    y, kernel = y.transpose(0, 3, 1, 2), kernel.transpose(3, 2, 0, 1)
    solution = conv2d_solve(y, kernel, (5, 6), bias, data_format="NCHW", progress=lambda *state: shown.append(state[4]))
    assert shown[-1].shape == (2, 5, 6) and np.array_equal(shown[-1], solution.x[0])


def test_empty():
    kernel = np.ones((3, 3, 2, 4))
    none = conv2d_solve(np.empty((0, 3, 4, 4)), kernel, (5, 6))
    assert none.x.shape == (0, 5, 6, 2) and none[1:] == (0, 0, 0, "converged")
    # No equation: nothing moves the start but damping.
    start = np.ones((1, 2, 2, 2))
    kept = conv2d_solve(np.empty((1, 0, 0, 4)), kernel, (2, 2), start=start, allow_empty_output=True)
    assert np.array_equal(kept.x, start) and kept.outcome == "converged"
    damped = conv2d_solve(np.empty((1, 0, 0, 4)), kernel, (2, 2), start=start, damping=2, allow_empty_output=True)
    assert not damped.x.any() and damped.outcome == "converged"


# ------------------------------------------------------------------------------------------------------------------- rank


@pytest.mark.parametrize("name", LAYERS)
def test_rank_and_condition_are_numpys(name, data_format):
    layer = dict(LAYERS[name])
    kernel = np.random.default_rng(25).standard_normal(layer.pop("kernel_shape"))
    A = matrix(kernel, (5, 6, 2), **layer)
    values = np.linalg.svd(A, compute_uv=False)
    expected = int((values > max(A.shape) * 2.0**-52 * values[0]).sum())
    rank = conv2d_rank(kernel, (5, 6), data_format=data_format, **layer)
    assert (rank.equations, rank.unknowns) == A.shape
    assert rank.rank == expected <= rank.rank_bound <= min(A.shape)
    assert abs(rank.largest_singular_value / values[0] - 1) < 1e-12
    assert abs(rank.smallest_singular_value / values[expected - 1] - 1) < 1e-11
    assert rank.condition == rank.largest_singular_value / rank.smallest_singular_value


@pytest.mark.parametrize("mode", MODES)
def test_rank_bound_is_reached_by_random_kernels(mode):
    """Where it says more than min(equations, unknowns): pixels that no window meets, more filters than a window has weights."""
    for size, shape, options, bound in [
            ((7, 7), (1, 1, 3, 5), dict(strides=3), 3 * 3 * 3), ((6, 5), (2, 2, 1, 9), dict(strides=2), 3 * 2 * 4),
            ((6, 6), (1, 1, 2, 6), dict(groups=2), 72), ((5, 5), (1, 1, 4, 2), dict(), 50),
            ((4, 6), (3, 3, 2, 1), dict(padding=1), 24)]:
        kernel = np.random.default_rng(26).standard_normal(shape)
        if options.get("groups"):
            kernel = kernel[:, :, :1]
        rank = conv2d_rank(kernel, size, padding_mode=mode, **options)
        assert rank.rank_bound == bound and rank.rank == bound, (size, shape, options)


def test_rank_bound_counts_outputs_that_read_a_repeated_border_alone():
    """16 of the 36 outputs read the image itself, and the rank is higher."""
    rank = conv2d_rank(np.random.default_rng(30).standard_normal((2, 2, 4, 1)), (3, 3), padding=2, padding_mode="symmetric")
    assert rank.rank_bound == 36 and rank.rank == 25


def test_rank_bound_counts_what_a_pixel_is_written_to():
    """The border repeats the one pixel of ten channels, so that all outputs are equal."""
    rank = conv2d_rank(np.random.default_rng(31).standard_normal((1, 1, 10, 2)), (1, 1), padding=2, padding_mode="replicate")
    assert (rank.equations, rank.unknowns, rank.rank_bound, rank.rank) == (50, 10, 2, 2)


def test_rank_of_special_kernels():
    assert conv2d_rank(np.zeros((3, 3, 1, 2)), (5, 5))[2:] == (18, 0, 0, 0, 0)
    twice = np.random.default_rng(27).standard_normal((3, 3, 1, 1)).repeat(2, axis=3)
    assert conv2d_rank(twice, (5, 5)).rank == 9
    scaled = conv2d_rank(twice * 1e-250, (5, 5))
    plain = conv2d_rank(twice, (5, 5))
    assert scaled.rank == 9 and abs(scaled.condition / plain.condition - 1) < 1e-12
    assert abs(scaled.largest_singular_value / plain.largest_singular_value / 1e-250 - 1) < 1e-12
    infinite = twice.copy()
    infinite[1, 1, 0, 0] = np.inf
    assert conv2d_rank(infinite, (5, 5))[2:] == (18, None, None, None, None)
    identity = conv2d_rank(np.ones((1, 1, 1, 1), np.float32), (4, 5))
    assert identity == (20, 20, 20, 20, 1, 1, 1)


def test_rank_of_what_is_large_is_only_bounded():
    rank = conv2d_rank(np.ones((3, 3, 3, 64)), (512, 512), strides=2)
    # 511 lines are met; a pixel of the output has 27 independent channels at most, which is more.
    assert rank == (255 * 255 * 64, 512 * 512 * 3, 511 * 511 * 3, *[None] * 4)
    assert conv2d_rank(np.ones((1, 1, 1, 1)), (20, 20)).rank == 400  # 400^3 is just below 2^26
    assert conv2d_rank(np.ones((1, 1, 1, 1)), (20, 21)).rank is None


# -------------------------------------------------------------------------------------- "how do I get the image back?"

SEED_5 = {  # filters, options: rank of the map from 147 numbers
    "1 filter, stride 2": (1, dict(strides=2), 9),
    "1 filter": (1, {}, 25),
    "3 filters": (3, {}, 75),
    "6 filters": (6, {}, 147),
    "12 filters, stride 2": (12, dict(strides=2), 108),
    "27 filters, stride 2": (27, dict(strides=2), 147),
    "3 filters, same": (3, dict(padding="same"), 147),
    "3 filters, full": (3, dict(padding="full"), 147),
}


@pytest.mark.parametrize("case", SEED_5)
def test_an_image_of_7x7x3_comes_back_if_the_rank_is_147(case, isa):
    filters, options, expected_rank = SEED_5[case]
    rng = np.random.default_rng(28)
    x, kernel, bias = rng.standard_normal((1, 7, 7, 3)), rng.standard_normal((3, 3, 3, filters)), rng.standard_normal(filters)
    y = conv2d(x, kernel, bias, isa=isa, **options)
    rank = conv2d_rank(kernel, (7, 7), **options)
    assert (rank.equations, rank.unknowns, rank.rank) == (y.size, 147, expected_rank)
    assert 1 <= rank.condition < 5000
    solution = conv2d_solve(y, kernel, (7, 7), bias, tolerance=1e-15, isa=isa, **options)
    assert solution.residual_norm < 1e-10 * np.linalg.norm(y)
    assert solution.iterations < 1000
    if expected_rank == 147:
        assert distance(solution.x, x) < 1e-10
    else:
        # A random image keeps the share of its length that the map keeps of the dimensions.
        assert abs(distance(solution.x, x) - np.sqrt(1 - expected_rank / 147)) < 0.1


def test_noise_and_what_helps_against_it():
    """A 5 x 5 box blur of 16 x 16 pixels can be inverted; yet only damping or few steps give anything like the image back."""
    kernel = np.full((5, 5, 1, 1), 1 / 25)
    rank = conv2d_rank(kernel, (16, 16), padding="same")
    assert rank.rank == 256 and abs(rank.condition - 699) < 1
    rng = np.random.default_rng(29)
    x = np.cumsum(np.cumsum(rng.standard_normal((1, 16, 16, 1)), axis=1), axis=2)
    x /= np.abs(x).max()
    blurred = conv2d(x, kernel, padding="same")
    assert distance(conv2d_solve(blurred, kernel, (16, 16), padding="same", max_iterations=3000, tolerance=1e-15).x, x) < 1e-8
    noisy = blurred + 0.05 * blurred.std() * rng.standard_normal(x.shape)

    def error(**options):
        return distance(conv2d_solve(noisy, kernel, (16, 16), padding="same", **options).x, x)

    exact, damped = error(max_iterations=3000), error(damping=0.05)
    steps = [error(max_iterations=count) for count in (10, 100, 300)]
    assert exact > 0.5 and damped < exact / 2 and steps[0] < exact / 2
    assert steps == sorted(steps)


# -------------------------------------------------------------------------------------------------------------- refusals


def test_refusals_of_the_python_side():
    kernel, bias, _, _, y = problem(30)
    with pytest.raises(ValueError, match=r"y has shape .*\(1, 3, 4, 3\).* 5 x 7 become \(1, 3, 5, 3\)"):
        conv2d_solve(y, kernel, (5, 7), bias)
    with pytest.raises(ValueError, match=r"mask has shape \(3,\); it must be \(1, 3, 4, 3\)"):
        conv2d_solve(y, kernel, (5, 6), bias, mask=[True] * 3)
    with pytest.raises(ValueError, match=r"start has shape .* it must be \(1, 5, 6, 2\)"):
        conv2d_solve(y, kernel, (5, 6), bias, start=np.zeros((5, 6, 2)))
    with pytest.raises(ValueError, match="bias has shape"):
        conv2d_solve(y, kernel, (5, 6), bias[:2])
    with pytest.raises(ValueError, match="max_iterations is 0"):
        conv2d_solve(y, kernel, (5, 6), bias, max_iterations=0)
    with pytest.raises(ValueError, match="y has shape"):
        conv2d_solve(y[0], kernel, (5, 6), bias)
    for options, text in [(dict(damping=-1), "lambda is -1"), (dict(damping=np.nan), "lambda is"),
                          (dict(tolerance=-1e-3), "tolerance"), (dict(max_iterations=-3), "max_iterations is -3"),
                          (dict(activation="relu"), "activation")]:
        with pytest.raises(ValueError, match=text) as refusal:
            conv2d_solve(y, kernel, (5, 6), bias, **options)
        assert refusal.value.status > 0
    with pytest.raises(NotImplementedError, match="padding_value"):
        conv2d_rank(kernel, (5, 6), padding=1, padding_mode="constant", padding_value=1)
