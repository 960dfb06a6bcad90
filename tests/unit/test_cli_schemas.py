"""Published schemas: complete, and the same as the code."""

import jsonschema_rs
import pytest

from compute.cli.main import Verbs
from compute.cli.schemas import file_name, names, published
from compute.cli.schemas.making import FOLDER, schemas

MADE = dict(schemas())
# What hands the terminal over, or prints a document of another kind.
WITHOUT = {"ssh", "completion", "schema"}


@pytest.mark.parametrize("name", sorted(MADE))
def test_each_published_schema_is_what_the_code_makes(name):
    """After a change of a model: python -m compute.cli.schemas."""
    assert (FOLDER / name).read_text() == MADE[name]


def test_nothing_else_is_published():
    """No schema of a verb that is gone."""
    assert {path.name for path in FOLDER.glob("*.json")} == set(MADE)
    assert {file_name(name) for name in names()} == set(MADE)


def test_every_verb_has_a_schema():
    """Whatever prints data says in which form."""
    documented = {name.split()[0] for name in names()}
    assert set(Verbs.verbs) - documented == WITHOUT


@pytest.mark.parametrize("name", names())
def test_every_schema_is_one(name):
    """JSON Schema's own rules hold, and an unknown shape is refused."""
    jsonschema_rs.meta.validate(published(name))
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validator_for(published(name)).validate("surprise")
