"""What a vendor tests an algorithm with: pictures with known defects, fixtures and checks."""
