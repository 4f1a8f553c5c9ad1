"""Pictures on their way into shared memory."""
