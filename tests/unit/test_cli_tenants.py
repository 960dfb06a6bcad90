"""Who may rent through a validator: the operator's verbs, on the validator's own database."""

import pytest

from compute.domain.requirement import Requirement
from compute.errors import Code
from compute.storage.database import Role, open_database
from compute.storage.rentals import RentalStore, TenantStore
from compute.validator.renting.webhooks import WebhookStore
from tests.command import run


class Validator:
    """A validator's state folder, with what its own process reads in it."""

    def __init__(self, state):
        self.state = state
        self.engine = open_database(f"sqlite:///{state / 'validator.sqlite'}", Role.VALIDATOR)
        self.tenants = TenantStore(self.engine)

    def tenant(self, verb, *arguments):
        """One of the verbs, as data by its schema."""
        ran = run("--state", str(self.state), "validator", "tenant", verb, *arguments, "--json")
        assert ran.code == 0, ran
        return ran.json(f"validator tenant {verb}")

    def refused(self, *arguments) -> str:
        """What a verb that is refused says to do."""
        ran = run("--state", str(self.state), "validator", "tenant", *arguments, "--json")
        assert ran.code == Code.USAGE.spec.exit_code, ran
        return ran.json("error")["hint"]


@pytest.fixture
def validator(tmp_path):
    made = Validator(tmp_path / "state")
    yield made
    made.engine.dispose()


def test_a_token_opens_until_it_is_changed_or_its_tenant_removed(validator):
    """The validator's own look finds a tenant by its newest token, and by no other."""
    first = validator.tenant("add", "lab", "--leases", "3")
    assert first["tenant"] == validator.tenant("list")[0]
    assert first["tenant"] | {"most_leases": 3, "live": 0, "enabled": True} == first["tenant"]
    assert validator.tenants.find(first["token"]).name == "lab"
    second = validator.tenant("rotate", "lab")["token"]
    assert validator.tenants.find(first["token"]) is None
    assert validator.tenants.find(second).name == "lab"
    assert not validator.tenant("remove", "lab")["enabled"]
    assert validator.tenants.find(second) is None
    assert validator.tenant("list") == []


def test_a_token_is_nowhere_but_in_the_answer(validator):
    """Standard output is the token alone, and no file holds it."""
    ran = run("--state", str(validator.state), "validator", "tenant", "add", "lab")
    token = ran.out.strip()
    assert validator.tenants.find(token).name == "lab"
    assert token not in ran.err
    for file in validator.state.iterdir():
        assert token.encode() not in file.read_bytes()


def test_a_tenant_that_has_rented_is_kept_for_its_rentals(validator):
    """Removing it shuts it out, counts what runs on, ends its webhooks; rotating lets it back."""
    token = validator.tenant("add", "lab")["token"]
    who = validator.tenants.find(token)
    RentalStore(validator.engine, "5V").begin(who, "k" * 8, "{}", Requirement(), 1)
    hooks = WebhookStore(validator.engine)
    hooks.add(who, "https://lab.example/hook", 0)
    assert validator.tenant("list")[0]["live"] == 1
    said = run("--state", str(validator.state), "validator", "tenant", "remove", "lab").out
    assert said == "lab is shut out; it has 1 live lease until the deadline\n"
    (row,) = validator.tenant("list")
    assert (row["enabled"], row["live"]) == (False, 1)
    assert hooks.of_tenant(who.id) == []
    hooks.add(who, "https://lab.example/late", 0)  # by a request that had been let in before
    assert hooks.waiting() == []
    back = validator.tenants.find(validator.tenant("rotate", "lab")["token"])
    assert back == who


def test_dry_runs_change_nothing(validator):
    """Each says what would be, and the tenants stay as they are."""
    token = validator.tenant("add", "lab")["token"]
    before = validator.tenant("list")
    assert validator.tenant("add", "shop", "--dry-run")["token"] == ""
    assert validator.tenant("rotate", "lab", "--dry-run")["token"] == ""
    assert validator.tenant("remove", "lab", "--dry-run")["enabled"]
    assert validator.tenant("list") == before
    assert validator.tenants.find(token).name == "lab"


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_mistakes_are_refused_with_what_to_do(validator, dry_run, tmp_path):
    """A name that is taken, bad or unknown, and a folder without a validator."""
    validator.tenant("add", "lab")
    assert "rotate" in validator.refused("add", "lab", *dry_run)
    assert validator.refused("add", "a\nb", *dry_run)
    assert "tenant list" in validator.refused("rotate", "nobody", *dry_run)
    assert "tenant list" in validator.refused("remove", "nobody", *dry_run)
    other = run("--state", str(tmp_path), "validator", "tenant", "add", "x", *dry_run, "--json")
    assert "--state" in other.json("error")["hint"]
    assert not (tmp_path / "validator.sqlite").exists()
