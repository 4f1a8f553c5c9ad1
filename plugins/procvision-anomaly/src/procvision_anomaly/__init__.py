"""`surface-anomaly`: learns from good pictures only, scores and locates what is not like them."""
