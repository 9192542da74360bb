"""What the stock tool has to know about this folder: the name of the history table."""

MIGRATE_TABLE = "cmcore_trail_migrations"
