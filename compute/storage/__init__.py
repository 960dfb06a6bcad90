"""Tables, migrations and repositories; SQLite by default, any SQLAlchemy URL by configuration."""
