"""What is computed from the journals into a database: for history, statistics and the page. The journals are the truth.

tables.py      the tables
database.py    where they are: SQLite or PostgreSQL, its schema's version, and whether the file is still there
rows.py        a record -> rows
projector.py   follows the journals, and catches up
queries.py     what a page asks
"""
