"""Sessions in PostgreSQL: `--sessions postgresql://USER@HOST/DATABASE`."""

from procvision_postgres.plugin import PostgresSessions

__all__ = ["PostgresSessions"]
