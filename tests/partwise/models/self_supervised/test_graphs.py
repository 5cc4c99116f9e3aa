"""Graph matching against brute force over all partial permutations, and on graphs with a planted truth."""

import itertools

import pytest
import torch

from partwise.models.self_supervised.graphs import (
    HUMAN,
    SAME,
    calibrate,
    energy,
    match_graphs,
    structure_term,
    visibilities,
)
from partwise.ops.flip import COCO_KEYPOINT_PAIRS

KAPPA = 0.1


def random_graph(nodes, generator):
    upper = (torch.rand(nodes, nodes, generator=generator) < 0.5).float().triu(1)
    return upper + upper.T


def partial_permutations(rows, columns):
    found = []
    for count in range(min(rows, columns) + 1):
        for some in itertools.combinations(range(rows), count):
            for order in itertools.permutations(range(columns), count):
                matches = torch.zeros(rows, columns)
                matches[list(some), list(order)] = 1
                found.append(matches)
    return torch.stack(found)


def planted(seed=0, people=16):
    """Distances of true pairs about 0.22, of all others and of a quarter of the joints about 0.52."""
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(people, 17, generator=generator) < 0.25
    appearance = 0.52 + 0.02 * torch.randn(people, 17, 17, generator=generator)
    true = torch.eye(17, dtype=torch.bool) & ~wrong[:, :, None]
    return torch.where(true, appearance - 0.3, appearance), wrong


def same(people):
    return SAME.expand(people, -1, -1)


def test_a_person_has_cocos_19_limbs():
    assert HUMAN.sum() == 38
    assert torch.equal(HUMAN, HUMAN.T)
    assert HUMAN.diagonal().sum() == 0
    assert SAME.sum() == 17 + 2 * len(COCO_KEYPOINT_PAIRS)


def test_structure_cannot_tell_a_mirrored_skeleton():
    mirrored = (SAME & ~torch.eye(17, dtype=torch.bool)).double()
    mirrored[0, 0] = 1
    assert structure_term(mirrored[None], HUMAN.double(), HUMAN.double()).item() == 0


def test_the_structure_term_is_its_quadruple_sum():
    generator = torch.Generator().manual_seed(0)
    c, d = random_graph(5, generator), random_graph(4, generator)
    matches = torch.rand(3, 5, 4, generator=generator)
    plain = (c[:, :, None, None] - d).abs()  # (m, n, o, p)
    want = torch.einsum("bmo,bnp,mnop->b", matches, matches, plain)
    torch.testing.assert_close(structure_term(matches, c, d), want)


def test_of_permutations_the_structure_term_is_a_trace():
    matches = torch.eye(17)[torch.randperm(17, generator=torch.Generator().manual_seed(1))]
    want = 2 * HUMAN.sum() - 2 * (matches.T @ HUMAN @ matches @ HUMAN).trace()
    torch.testing.assert_close(structure_term(matches[None], HUMAN, HUMAN)[0], want)


def test_the_head_and_one_arm_are_matched_as_by_brute_force():
    """Seven joints, those of one name or mirrored, at random distances: the least energy, or hardly more."""
    rows = [0, 5, 6, 7, 8, 9, 10]
    structure, allowed = HUMAN[rows][:, rows], SAME[rows][:, rows]
    every = partial_permutations(7, 7)
    every = every[(every * ~allowed).sum((1, 2)) == 0]
    generator = torch.Generator().manual_seed(2)
    gaps = []
    for _ in range(40):
        appearance = 0.1 + 0.5 * torch.rand(1, 7, 7, generator=generator)
        both = {"kappa": 0.12, "structure": structure, "other": structure}
        least = energy(every, appearance.expand(len(every), -1, -1), **both).min()
        found = match_graphs(appearance, allowed[None], **both)
        gaps.append(float(energy((found > 0.5).float(), appearance, **both) - least))
    assert min(gaps) > -1e-5
    assert sum(gap < 1e-5 for gap in gaps) >= 32
    assert sum(gaps) < 0.2
    assert max(gaps) < 0.06


@pytest.mark.parametrize("nodes", [4, 5])
def test_graphs_of_any_order_are_found_where_appearance_is_a_hint(nodes):
    every = partial_permutations(nodes, nodes)
    exact = []
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        structure, order = random_graph(nodes, generator), torch.randperm(nodes, generator=generator)
        appearance = 0.25 + 0.2 * torch.rand(1, nodes, nodes, generator=generator)
        appearance[0, order, range(nodes)] -= 0.2
        both = {"kappa": 0.12, "structure": structure, "other": structure[order][:, order]}
        found = match_graphs(appearance, torch.ones(1, nodes, nodes, dtype=torch.bool), **both)
        energies = energy(every, appearance.expand(len(every), -1, -1), **both)
        exact.append(float(energy((found > 0.5).float(), appearance, **both) - energies.min()) < 1e-5)
    assert sum(exact) >= 29


def test_true_joints_are_kept_and_false_ones_dropped():
    appearance, wrong = planted()
    seen, seen_there = visibilities(match_graphs(appearance, same(16), KAPPA))
    assert seen[~wrong].min() > 0.75
    assert seen[wrong].max() < 0.25
    torch.testing.assert_close(seen, seen_there, atol=0.02, rtol=0)


def test_joints_with_left_and_right_exchanged_do_not_match_their_names():
    appearance, _ = planted()
    appearance[:] = 0.52 - 0.3 * torch.eye(17)
    order = torch.arange(17)
    order[[13, 14, 15, 16]] = torch.tensor([14, 13, 16, 15])  # the shanks
    found = match_graphs(appearance[:, :, order], same(16), KAPPA).diagonal(dim1=1, dim2=2)
    exchanged = torch.zeros(17, dtype=torch.bool)
    exchanged[13:] = True
    assert found[:, exchanged].max() < 0.2
    assert found[:, ~exchanged].min() > 0.75


def test_a_mirrored_person_matches_mirrored_joints():
    order = torch.arange(17)
    for left, right in COCO_KEYPOINT_PAIRS:
        order[left], order[right] = right, left
    appearance = (0.52 - 0.3 * torch.eye(17))[None, :, order]
    found = match_graphs(appearance, same(1), KAPPA)[0]
    assert found[range(17), order].min() > 0.75
    assert visibilities(found[None])[0].min() > 0.75


def test_missing_joints_match_nothing():
    appearance, _ = planted()
    known = torch.rand(2, 16, 17, generator=torch.Generator().manual_seed(3)) < 0.7
    found = match_graphs(appearance, same(16) & known[0][:, :, None] & known[1][:, None], KAPPA)
    assert found[~known[0]].max() == 0
    assert found.mT[~known[1]].max() == 0
    assert not match_graphs(appearance[:0], same(0), KAPPA).numel()


def test_kappa_decides_between_nothing_and_everything():
    appearance, _ = planted()
    assert match_graphs(appearance, same(16), 0.0).max() < 0.1
    assert match_graphs(appearance, same(16), 0.5).diagonal(dim1=1, dim2=2).min() > 0.99
    with pytest.raises(ValueError, match="kappa is 5"):
        match_graphs(appearance, same(16), 5)


@pytest.mark.parametrize("kappa", [0.0, 0.1, 4.0])
def test_rows_and_columns_sum_to_at_most_one(kappa):
    generator = torch.Generator().manual_seed(4)
    found = match_graphs(2 * torch.rand(8, 17, 17, generator=generator), same(8), kappa)
    assert found.isfinite().all()
    assert found.min() >= 0
    assert found.sum(1).max() < 1 + 1e-6
    assert found.sum(2).max() < 1 + 1e-6
    assert found[:, ~SAME].max() == 0


def test_lower_precision_does_not_reach_the_matching():
    appearance, _ = planted()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(
            match_graphs(appearance, same(16), KAPPA), match_graphs(appearance.float(), same(16), KAPPA)
        )


def test_calibration_puts_kappa_between_true_and_false_pairs():
    found = calibrate(torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.6]))
    assert found == (pytest.approx(0.4 / 4), 1, 1)
    true, false = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.9]), torch.tensor([0.25, 0.6, 0.7])
    found = calibrate(true, false, alpha=0.2)
    assert found.kappa == pytest.approx(0.8 * 0.5 / 2)
    assert (found.kept, found.dropped) == (pytest.approx(0.8), pytest.approx(2 / 3))
