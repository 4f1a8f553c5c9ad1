"""Training: a vendor's trainer in a process of its own, told what to learn from, telling how far it is."""
