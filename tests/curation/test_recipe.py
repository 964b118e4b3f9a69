"""Curation's sections of a recipe, put together."""

from curation.recipe import HarvestRecipe


def test_a_pool_that_is_set_in_part_keeps_the_rest_of_its_own_defaults() -> None:
    pool = HarvestRecipe.model_validate({"download_pool": {"workers": 3}}).download_pool
    assert (pool.workers, pool.cpus) == (3, HarvestRecipe().download_pool.cpus)
