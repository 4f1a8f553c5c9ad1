"""The line: what happens to a product from its trigger to its verdict, without a file, a thread or a clock."""
