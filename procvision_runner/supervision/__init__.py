"""One algorithm kept alive: hosts and their succession, who may call them, policies, and what an operator sees."""
