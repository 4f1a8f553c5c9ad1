"""Hosts under full load that are killed, stopped and swapped: is every call answered once, and rightly?

python -m tests.chaos --seconds 60
"""
