"""On PostgreSQL too, evidence is never changed, and is removed from its old end only."""

from alembic import op

revision = "v0003"
down_revision = "v0002"
branch_labels = None
depends_on = None

REFUSE = """CREATE FUNCTION evidence_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'evidence is never changed' USING ERRCODE = 'integrity_constraint_violation';
END $$"""
# Row by row the order of removal is not known beforehand: the whole statement is looked at.
REFUSE_HOLE = """CREATE FUNCTION evidence_refuse_hole() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM evidence WHERE seq < (SELECT max(seq) FROM gone)) THEN
        RAISE EXCEPTION 'evidence is removed from its old end only'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$"""
TRIGGERS = (
    """CREATE TRIGGER evidence_no_update BEFORE UPDATE ON evidence
    FOR EACH ROW EXECUTE FUNCTION evidence_refuse_change()""",
    """CREATE TRIGGER evidence_no_truncate BEFORE TRUNCATE ON evidence
    FOR EACH STATEMENT EXECUTE FUNCTION evidence_refuse_change()""",
    """CREATE TRIGGER evidence_no_delete AFTER DELETE ON evidence REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION evidence_refuse_hole()""",
)


def upgrade() -> None:
    """Go up to this revision; SQLite has its triggers from the first one on."""
    if op.get_bind().dialect.name == "postgresql":
        for statement in (REFUSE, REFUSE_HOLE, *TRIGGERS):
            op.execute(statement)


def downgrade() -> None:
    """Go back from this revision."""
    if op.get_bind().dialect.name == "postgresql":
        for trigger in ("evidence_no_update", "evidence_no_truncate", "evidence_no_delete"):
            op.execute(f"DROP TRIGGER {trigger} ON evidence")
        for function in ("evidence_refuse_change", "evidence_refuse_hole"):
            op.execute(f"DROP FUNCTION {function}()")
