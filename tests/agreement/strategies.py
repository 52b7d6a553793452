"""Random resources, searches and expressions: what `bench/agreement.py` draws from."""

from tests.agreement.expressions import random_expression, random_query
from tests.agreement.pools import PARENTS, VALUE_SETS
from tests.agreement.resources import random_collection, random_resource
from tests.agreement.searches import random_criterion, random_search

__all__ = [
    "PARENTS",
    "VALUE_SETS",
    "random_collection",
    "random_criterion",
    "random_expression",
    "random_query",
    "random_resource",
    "random_search",
]
