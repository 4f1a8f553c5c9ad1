"""How good an algorithm is on a data set: measures, bounds, sweeps. Pure; nothing here inspects a picture."""
