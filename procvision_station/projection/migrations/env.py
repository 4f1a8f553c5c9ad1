"""Alembic runs this with the connection of `Database.migrate`."""

from alembic import context

from procvision_station.projection.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
context.run_migrations()
