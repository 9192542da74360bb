"""What the stock command line has to know about this folder; it runs this first."""

from peewee_migrate.models import MigrateHistory

from cmcore.schema.history_table import make_once

MIGRATE_TABLE = "cmcore_migrations"
make_once(MigrateHistory)
