"""What is said of leakage: of a run as it stands in plans, of a release with its figures."""

from parley.privacy.leakage import SERVING, foreseen, released, statement


def test_a_release_says_what_each_side_will_learn_with_its_figures():
    to_active, to_peer = released("bank", "operator", 5000, 130)
    assert any("up to 5000" in fact and "operator's table" in fact for fact in to_active)
    assert any("all 130 splits" in fact for fact in to_active)
    assert any("no score" in fact for fact in to_peer)
    assert not any("{" in fact for fact in (*to_active, *to_peer))


def test_what_a_plan_says_of_a_run_is_about_the_run_only():
    said = "\n".join((statement(), *foreseen("bank", "operator", 50)[0]))
    assert not any(fact in said for each in SERVING for fact in each.to_active)
