"""Versions of algorithms on a station: installed side by side, activated, taken back."""
